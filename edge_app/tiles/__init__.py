"""Tiles: parts of the picture at full resolution, for people who are too small in the picture as a whole."""

"""Capturing: cameras, streams and folders, kept alive; the newest frame only."""

"""Simulated scenes, in which the truth is known exactly."""

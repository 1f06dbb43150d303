"""Tracking: one identity per person over time."""

from edge_app.tracking.tracker import Tracker

__all__ = ["Tracker"]

"""Offline analysis of recorded video."""

from edge_app.analysis.analyze import AnalysisOptions, Interrupted, analyze

__all__ = ["AnalysisOptions", "Interrupted", "analyze"]

"""The report of an analysis: one HTML file that opens without a network."""

from edge_app.report.collector import ReportCollector

__all__ = ["ReportCollector"]

"""The dashboard: a small Flask application on a production server."""

"""The API, version 1."""

from edge_app.web.api.routes import api_routes

__all__ = ["api_routes"]

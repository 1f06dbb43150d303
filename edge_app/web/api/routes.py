"""Puts the API together."""

from __future__ import annotations

from typing import Any, Optional

from flask import Blueprint

from edge_app.config_section import Section
from edge_app.web.api.calibration import add_calibration
from edge_app.web.api.history import add_history
from edge_app.web.api.live import add_live
from edge_app.web.api.openapi import openapi_document
from edge_app.web.api.operation import Operations
from edge_app.web.api.settings import add_settings
from edge_app.web.api.system import add_system
from edge_app.web.security.access import visitor
from edge_app.web.security.guard import browser_key
from edge_app.web.site import Site


class Who(Section):
    """Who asks.

    ``csrf_token`` belongs into the header ``X-CSRF-Token`` of every change that a browser's session makes.
    """

    name: str
    role: str
    csrf_token: Optional[str]


def api_routes(site: Site) -> Blueprint:
    """Make the blueprint of the API."""
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
    operations = Operations(blueprint)

    @operations.add("GET", "/session", "Who asks, and what their changes have to carry.", answer=Who)
    def session() -> Any:
        asks = visitor()
        token = site.security.sessions.csrf_token(browser_key()) if asks.by_cookie else None
        return Who(name=asks.name, role=asks.role, csrf_token=token)

    add_live(operations, site)
    add_history(operations, site)
    add_calibration(operations, site)
    add_system(operations, site)
    add_settings(operations, site)

    @operations.add("GET", "/openapi.json", "This document.")
    def openapi() -> Any:
        return openapi_document(operations.all)

    return blueprint

"""Puts the pages together."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from edge_app.web.pages.history import add_history
from edge_app.web.pages.live import add_live
from edge_app.web.pages.setup import add_setup
from edge_app.web.pages.system import add_system
from edge_app.web.site import Site

# Endpoint, label, whether only admins see it.
_MENU = (
    ("pages.live", "Now", False),
    ("pages.history", "History", False),
    ("pages.system", "System", False),
    ("pages.settings", "Settings", True),
    ("pages.calibration", "Calibration", True),
    ("pages.places", "Region and line", True),
)
# Pages that are reached from another one, which the menu marks.
_PARENTS = {"pages.event": "pages.history"}


def site_pages(site: Site) -> Blueprint:
    """Make the blueprint of all pages."""
    pages = Blueprint("pages", __name__)

    @pages.app_context_processor
    def names() -> dict[str, Any]:
        is_admin = g.get("visitor") is not None and g.visitor.role == "admin"
        shown = [(endpoint, label) for endpoint, label, for_admins in _MENU if is_admin or not for_admins]
        return {"camera_names": tuple(site.cameras), "menu": shown, "parent_of": _PARENTS}

    add_live(pages, site)
    add_history(pages, site)
    add_system(pages, site)
    add_setup(pages, site)
    return pages

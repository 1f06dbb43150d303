"""How the device does."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, render_template

from edge_app.storage.store import TimeRange
from edge_app.web.site import Site
from edge_app.web.system_state import system_state
from edge_app.web.views import state_view

_NOTICES = 20


def add_system(pages: Blueprint, site: Site) -> None:
    """Add the page."""

    @pages.get("/system")
    def system() -> Any:
        is_admin = g.visitor.role == "admin"
        return render_template(
            "system.html",
            states={name: state_view(view) for name, view in site.cameras.items()},
            stages={name: view.runner.times.summary_ms() for name, view in site.cameras.items()},
            system=system_state(site),
            notices=[] if site.store is None else site.store.notices(TimeRange(), _NOTICES),
            alerts=[] if site.store is None else site.store.alerts(TimeRange(), _NOTICES),
            log=site.log_tail.lines()[::-1] if is_admin else None,
        )

"""Setting up: thresholds, calibration, places."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from edge_app.errors import UserError
from edge_app.web.api.operation import CameraQuery, read_query
from edge_app.web.api.settings import change_settings
from edge_app.web.changes import check_values
from edge_app.web.security.access import admins_only
from edge_app.web.settings_form import changes, sections
from edge_app.web.site import Site


def add_setup(pages: Blueprint, site: Site) -> None:
    """Add the pages."""

    @pages.get("/settings")
    @admins_only
    def settings() -> Any:
        return _settings_page(site)

    @pages.post("/settings")
    @admins_only
    def change() -> Any:
        sent = request.form.to_dict()
        try:
            change = changes(site.settings.config, sent)
            check_values(change)
            outcome = change_settings(site, change) if change else None
        except UserError as error:
            return _settings_page(site, sent=sent, mistake=str(error)), 400
        return _settings_page(site, outcome=outcome, is_unchanged=outcome is None)

    @pages.get("/settings/calibration")
    @admins_only
    def calibration() -> Any:
        view = site.camera(read_query(request.args, CameraQuery).camera)
        return render_template(
            "calibration.html", camera=view.name, calibrated=view.camera is not None,
            privacy=site.settings.config.privacy.people, can_keep=site.settings.path is not None,
        )  # fmt: skip

    @pages.get("/settings/places")
    @admins_only
    def places() -> Any:
        view = site.camera(read_query(request.args, CameraQuery).camera)
        return render_template(
            "places.html", camera=view.name, calibrated=view.camera is not None,
            metrics=site.config_of(view).metrics, can_keep=site.settings.path is not None,
        )  # fmt: skip


def _settings_page(site: Site, **said: Any) -> str:
    path = site.settings.path
    return render_template(
        "settings.html",
        sections=list(sections(site.settings.config, said.get("sent"), said.get("mistake"))),
        file=None if path is None else path.name,
        **{"mistake": None, "outcome": None, "is_unchanged": False, **said},
    )

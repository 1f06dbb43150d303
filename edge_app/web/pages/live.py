"""The first page: what goes on now. And whether all is well, for programs that watch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, g, jsonify, render_template, request

from edge_app.current import FRESH_S
from edge_app.web.api.operation import CameraQuery, read_query
from edge_app.web.security.access import open_to_everyone
from edge_app.web.security.guard import is_local
from edge_app.web.site import Site
from edge_app.web.views import state_view


def add_live(pages: Blueprint, site: Site) -> None:
    """Add the page, its picture and the health."""

    @pages.get("/")
    def live() -> str:
        view = site.camera(read_query(request.args, CameraQuery).camera)
        return render_template(
            "live.html",
            camera=view.name,
            source=view.source_name,
            calibrated=view.birdseye is not None,
            metrics=site.config_of(view).metrics,
            privacy=site.settings.config.privacy.people,
        )

    @pages.get("/live.mjpg")
    def live_picture() -> Response:
        view = site.camera(request.args.get("camera"))
        pictures = site.streams.limited(_multipart(view.picture.stream(site.stopping)))
        return Response(pictures, mimetype="multipart/x-mixed-replace; boundary=frame")

    @pages.get("/healthz")
    @open_to_everyone
    def health() -> Any:
        states = {name: state_view(view)["health"] for name, view in site.cameras.items()}
        # At the start the first picture has as long to come.
        is_well = all(
            said["newest_frame_age_s"] <= FRESH_S and said["fault"] is None and not said["ended"]
            for said in states.values()
        )
        status = 200 if is_well else 503
        if g.visitor is not None:
            return jsonify(ok=is_well, cameras=states), status
        # A container's own health check has no account; it learns no more than this.
        return (jsonify(ok=is_well), status) if is_local() else (jsonify(error="log in first"), 401)


def _multipart(pictures: Iterator[bytes]) -> Iterator[bytes]:
    for jpeg in pictures:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"

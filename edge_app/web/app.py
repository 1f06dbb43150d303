"""The dashboard's pages and API."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterator
from typing import Any, Optional

from flask import Flask, Response, abort, jsonify, render_template, request

from edge_app.live import LiveRunner
from edge_app.render.birdseye import BirdsEye
from edge_app.web.picture import LivePicture
from edge_app.web.views import event_view, ground_view, state_view

# Open streams at most, of each kind: each holds one thread of the server.
MAX_STREAMS = 16
_STATE_INTERVAL_S = 0.2
_FRESH_S = 5.0
_MOST_EVENTS = 500
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(
    runner: LiveRunner,
    picture: LivePicture,
    birdseye: Optional[BirdsEye],
    hides_people: bool,
    stopping: threading.Event,
) -> Flask:
    """Make the Flask application.

    Args:
        runner: the live pipeline.
        picture: makes the live picture.
        birdseye: None without a calibration.
        hides_people: whether people are hidden in pictures, to say so on the page.
        stopping: set when the server goes down; ends all streams.
    """
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    streams = threading.BoundedSemaphore(MAX_STREAMS)

    @app.before_request
    def refuse_foreign_hosts() -> None:
        # A page elsewhere could have its own name resolved to this machine; only loopback names are ours.
        if not is_loopback(request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host):
            abort(Response("this dashboard answers to localhost only\n", 403, mimetype="text/plain"))

    @app.after_request
    def add_security_headers(response: Response) -> Response:
        for name, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/")
    def dashboard() -> str:
        return render_template(
            "dashboard.html",
            source=runner.state.source_name,
            calibrated=birdseye is not None,
            hides_people=hides_people,
        )

    @app.get("/live.mjpg")
    def live_picture() -> Response:
        return Response(
            _limited(streams, _multipart(picture.stream(stopping))),
            mimetype="multipart/x-mixed-replace; boundary=frame",
        )

    @app.get("/api/v1/state")
    def state() -> Response:
        return jsonify(state_view(runner, picture.withheld, picture.viewers))

    @app.get("/api/v1/ground")
    def ground() -> Response:
        return jsonify(ground_view(birdseye))

    @app.get("/api/v1/events")
    def events() -> Any:
        text = request.args.get("limit", "50")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _MOST_EVENTS and len(text) <= 6):
            return jsonify(error=f"'limit' must be a whole number from 1 to {_MOST_EVENTS}"), 400
        found, total = runner.state.events(int(text))
        return jsonify(events=[event_view(event) for event in found], total=total)

    @app.get("/api/v1/stream")
    def stream() -> Response:
        return Response(_limited(streams, _state_events(runner, picture, stopping)), mimetype="text/event-stream")

    @app.get("/healthz")
    def health() -> Any:
        said = runner.state.health()
        is_well = said["newest_frame_age_s"] <= _FRESH_S and said["fault"] is None and not said["ended"]
        return jsonify(ok=is_well, **said), 200 if is_well else 503

    @app.errorhandler(404)
    def not_found(_error: Exception) -> Any:
        return jsonify(error="there is nothing at this address"), 404

    return app


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this very machine."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _limited(streams: threading.BoundedSemaphore, items: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a stream on while there is room for it; refuse it, with 503, when there is none."""
    if not streams.acquire(blocking=False):
        abort(Response("too many viewers at once; close another page\n", 503, mimetype="text/plain"))
    return _released(streams, items)


class _released(Iterator[bytes]):
    """Gives the place of a stream back when the server closes it, also when it was never begun."""

    def __init__(self, streams: threading.BoundedSemaphore, items: Iterator[bytes]) -> None:
        self._streams: Optional[threading.BoundedSemaphore] = streams
        self._items = items

    def __next__(self) -> bytes:
        return next(self._items)

    def close(self) -> None:
        self._items.close()  # type: ignore[attr-defined]
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.release()


def _multipart(pictures: Iterator[bytes]) -> Iterator[bytes]:
    for jpeg in pictures:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"


def _state_events(runner: LiveRunner, picture: LivePicture, stopping: threading.Event) -> Iterator[bytes]:
    while not stopping.is_set():
        view = state_view(runner, picture.withheld, picture.viewers)
        yield f"data: {json.dumps(view, separators=(',', ':'))}\n\n".encode()
        stopping.wait(_STATE_INTERVAL_S)

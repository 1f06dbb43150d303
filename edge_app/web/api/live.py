"""What goes on now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Optional

from flask import Response
from pydantic import Field

from edge_app.config_section import Section
from edge_app.web.api.operation import CameraQuery, Operations
from edge_app.web.api.shapes import Matrix2, Pair, Pairs
from edge_app.web.site import CameraView, Site
from edge_app.web.views import ground_view, state_view

_STATE_INTERVAL_S = 0.2


class CameraEntry(Section):
    """A camera."""

    name: str
    source: str
    width: Optional[int]
    height: Optional[int]
    calibrated: bool


class CameraList(Section):
    """All cameras, in the order of the configuration."""

    cameras: tuple[CameraEntry, ...]


class Person(Section):
    """Somebody who is seen now; metres on the ground."""

    id: int
    xy_m: Pair
    cov_m2: Matrix2
    too_close: bool


class ClosePair(Section):
    """Two people who are too close now."""

    id_a: int
    id_b: int
    distance_m: float


class Now(Section):
    """The newest frame.

    Where no picture comes (health.current is false) figures are null and there are no positions. So are those in metres
    where no calibration holds.
    """

    sequence: int
    time_s: float
    utc_s: float = Field(description="when the newest picture was taken; where none comes, since when nothing is known")
    people: Optional[int] = Field(description="null: not known, since no picture comes")
    people_too_close: Optional[int] = Field(description="null: not known")
    pairs_too_close: Optional[int] = Field(description="null: not known")
    nearest_m: Optional[float] = Field(description="null: not known, or fewer than two people have a position")
    positions: tuple[Person, ...]
    close_pairs: tuple[ClosePair, ...]


class Health(Section):
    """How well the camera's pipeline does."""

    fps: float
    delay_ms: Optional[float]
    delay_p95_ms: Optional[float]
    newest_frame_age_s: float
    faults: int
    fault: Optional[str]
    current: bool = Field(description="the newest picture is one of now; else no figure is known")
    degraded: tuple[str, ...]
    source: str
    frames: int
    ended: bool
    dropped_frames: int
    withheld_pictures: int
    viewers: int


class State(Section):
    """Everything that is known of one camera now."""

    camera: str
    source: str
    model: str
    calibrated: bool
    health: Health
    banner: Optional[str]
    events_total: int
    now: Optional[Now] = Field(None, description="not there before the first picture")


class Ground(Section):
    """The ground that the camera sees, metres, and the turn that puts its view upright on a plan."""

    calibrated: bool
    outline_m: Pairs = ()
    turn: Optional[Matrix2] = None
    region_m: Optional[Pairs] = None
    line_m: Optional[Pairs] = None
    threshold_m: float = Field(description="people nearer than this are too close")


def add_live(operations: Operations, site: Site) -> None:
    """Add the operations on what goes on now."""

    @operations.add("GET", "/cameras", "The cameras.", answer=CameraList)
    def cameras() -> Any:
        return CameraList(cameras=tuple(_entry(view) for view in site.cameras.values()))

    @operations.add("GET", "/state", "What a camera sees now.", query=CameraQuery, answer=State, problems=(404,))
    def state(query: CameraQuery) -> Any:
        return state_view(site.camera(query.camera))

    @operations.add("GET", "/ground", "The ground that a camera sees.", query=CameraQuery, answer=Ground,
                    problems=(404,))  # fmt: skip
    def ground(query: CameraQuery) -> Any:
        view = site.camera(query.camera)
        return ground_view(view, site.config_of(view))

    @operations.add("GET", "/stream", "What a camera sees now, again and again, as server-sent events.",
                    query=CameraQuery, media=("text/event-stream",), problems=(404, 503))  # fmt: skip
    def stream(query: CameraQuery) -> Any:
        view = site.camera(query.camera)
        return Response(site.streams.limited(_state_events(site, view)), mimetype="text/event-stream")


def _entry(view: CameraView) -> CameraEntry:
    width, height = view.image_size or (None, None)
    return CameraEntry(
        name=view.name, source=view.source_name, width=width, height=height, calibrated=view.camera is not None
    )


def _state_events(site: Site, view: CameraView) -> Iterator[bytes]:
    while not site.stopping.is_set():
        yield f"data: {json.dumps(state_view(view), separators=(',', ':'))}\n\n".encode()
        site.stopping.wait(_STATE_INTERVAL_S)

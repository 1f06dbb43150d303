"""Setting a camera up: stills, calibration from points and from people, places on the ground."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
from flask import Response, abort
from pydantic import Field

from edge_app.calibration import CameraModel
from edge_app.config_section import Section
from edge_app.web import camera_editor
from edge_app.web.api.operation import CameraQuery, Operations
from edge_app.web.api.settings import Changed, change_settings
from edge_app.web.api.shapes import Matrix3, Pair, Pairs
from edge_app.web.security.access import visitor
from edge_app.web.security.guard import address
from edge_app.web.self_calibration import LiveSelfCalibration
from edge_app.web.site import CameraView, Site


class PointPair(Section):
    """A place in the picture and where it is on the ground."""

    px: Pair = Field(description="pixels from the left and from the top")
    m: Pair = Field(description="metres")


class PointsBody(CameraQuery):
    """Clicked points."""

    points: tuple[PointPair, ...] = Field(max_length=200, description="4 or more; with 5 or more wrong ones are found")
    hfov_deg: Optional[float] = Field(None, ge=5, le=150, description="horizontal field of view where it is known")


class GridLine(Section):
    """A line of the metre grid, pixels; every fifth one is bold."""

    points: Pairs
    bold: bool


class Preview(Section):
    """What the points would make."""

    width: int
    height: int
    used: tuple[bool, ...] = Field(description="false for points that do not fit the others")
    residual_px: tuple[Optional[float], ...]
    rms_px: float
    gap_error_m: float = Field(description="9 of 10 gaps of 2 m amid the points are wrong by at most this")
    image_to_world: Matrix3
    grid: tuple[GridLine, ...]


class Kept(Changed):
    """A calibration that was kept."""

    file: str


class SelfBody(CameraQuery):
    """How to begin a self-calibration."""

    hfov_deg: Optional[float] = Field(None, ge=5, le=150, description="horizontal field of view where it is known")


class SelfProgress(Section):
    """How far a self-calibration is; ``unsure`` says why its result should not be used yet."""

    running: bool
    frames: int = 0
    people: int = 0
    walks: int = 0
    height_m: Optional[float] = None
    tilt_deg: Optional[float] = None
    roll_deg: Optional[float] = None
    hfov_deg: Optional[float] = None
    distance_sigma: Optional[float] = Field(None, description="relative standard error of a distance of 2 m")
    unsure: Optional[str] = None
    fault: Optional[str] = None
    grid: tuple[GridLine, ...] = ()


class MapBody(CameraQuery):
    """Places to map through the calibration in use."""

    px: Pairs = Field((), max_length=500)
    m: Pairs = Field((), max_length=500)


class Mapped(Section):
    """The places on the other side, in the same order; null where there is none."""

    m: tuple[Optional[Pair], ...]
    px: tuple[Optional[Pair], ...]


def add_calibration(operations: Operations, site: Site) -> None:
    """Add the operations on stills, calibrations and places."""
    _add_stills(operations, site)
    _add_points(operations, site)
    _add_self_calibration(operations, site)

    @operations.add("POST", "/calibration/map", "Map pixels to metres and metres to pixels.", body=MapBody,
                    answer=Mapped, problems=(404, 409), access="admins")  # fmt: skip
    def map_places(body: MapBody) -> Any:
        view = site.camera(body.camera)
        camera = _camera_of(view)
        return Mapped(m=_places(camera.image_to_ground(_table(body.px)), 4),
                      px=_places(camera.ground_to_image(_table(body.m)), 1))  # fmt: skip


def _add_stills(operations: Operations, site: Site) -> None:
    @operations.add("GET", "/calibration/still", "The newest picture with people hidden, without overlay.",
                    query=CameraQuery, media=("image/jpeg",), problems=(404, 409), access="admins")  # fmt: skip
    def still(query: CameraQuery) -> Any:
        return _jpeg(site.camera(query.camera).picture.still(unhidden=False))

    @operations.add("POST", "/calibration/still", "The newest picture as it is, for calibrating; this is noted.",
                    body=CameraQuery, media=("image/jpeg",), problems=(404, 409), access="admins")  # fmt: skip
    def unhidden_still(body: CameraQuery) -> Any:
        view = site.camera(body.camera)
        # Before the picture is made: a view that can't be noted must not happen.
        site.security.audit.write(
            "unhidden picture", who=visitor().name, address=address(), must=True, camera=view.name
        )
        return _jpeg(view.picture.still(unhidden=True))


def _add_points(operations: Operations, site: Site) -> None:
    @operations.add("POST", "/calibration/preview", "What a calibration from these points would be.",
                    body=PointsBody, answer=Preview, problems=(404, 409), access="admins")  # fmt: skip
    def preview(body: PointsBody) -> Any:
        size = _size_of(site.camera(body.camera))
        found = _fit(body, size)
        residual = [None if not np.isfinite(one) else round(float(one), 2) for one in found.residual_px]
        return Preview(
            width=size[0],
            height=size[1],
            used=tuple(found.used.tolist()),
            residual_px=tuple(residual),
            rms_px=found.error["reprojection_rms_px"],
            gap_error_m=min(round(found.gap_error_m, 3), 1e6),
            image_to_world=camera_editor.image_to_world(found.camera),
            grid=camera_editor.grid(found.camera, size),
        )

    @operations.add("PUT", "/calibration", "Calibrate the camera from these points: the file, and what runs.",
                    body=PointsBody, answer=Kept, problems=(404, 409), access="admins")  # fmt: skip
    def calibrate(body: PointsBody) -> Any:
        view = site.camera(body.camera)
        found = _fit(body, _size_of(view))
        words = f"{int(found.used.sum())} ground points, clicked on the dashboard"
        return _keep(site, view, found.camera, words, found.error)


def _add_self_calibration(operations: Operations, site: Site) -> None:
    running: dict[str, LiveSelfCalibration] = {}

    @operations.add("GET", "/calibration/self", "How far the self-calibration is.", query=CameraQuery,
                    answer=SelfProgress, problems=(404,), access="admins")  # fmt: skip
    def progress(query: CameraQuery) -> Any:
        view = site.camera(query.camera)
        return _progress(view, running.get(view.name))

    @operations.add("POST", "/calibration/self", "Begin to calibrate from people who walk by; again: anew.",
                    body=SelfBody, answer=SelfProgress, problems=(404, 409), access="admins")  # fmt: skip
    def begin(body: SelfBody) -> Any:
        view = site.camera(body.camera)
        size = _size_of(view)
        if view.name in running:
            running.pop(view.name).stop()
        running[view.name] = LiveSelfCalibration(view.runner.state, size, body.hfov_deg)
        return _progress(view, running[view.name])

    @operations.add("PUT", "/calibration/self", "Use the self-calibration's result: the file, and what runs.",
                    body=CameraQuery, answer=Kept, problems=(404, 409), access="admins")  # fmt: skip
    def accept(body: CameraQuery) -> Any:
        view = site.camera(body.camera)
        one = running.get(view.name)
        result = one.result if one is not None else None
        if one is None or result is None:
            abort(409, "there is no result yet; let people walk by and look again")
        if result.unsure:
            abort(409, f"not sure yet: {result.unsure}")
        error = {f"sigma_{name}": round(value, 4) for name, value in result.sigma.items()}
        error |= {"relative_distance_sigma": round(result.distance_sigma, 4), "people": float(result.people)}
        one.stop()
        return _keep(site, view, result.camera, "self-calibrated on the dashboard from people who walked by", error)


def _progress(view: CameraView, one: Optional[LiveSelfCalibration]) -> SelfProgress:
    if one is None:
        return SelfProgress(running=False)
    found = one.result
    if found is None:
        return SelfProgress(running=one.is_running, frames=one.frames, fault=one.fault,
                            unsure="nobody was seen whole so far")  # fmt: skip
    return SelfProgress(
        running=one.is_running,
        frames=one.frames,
        people=found.people,
        walks=found.walks,
        height_m=round(found.height_m, 2),
        tilt_deg=round(found.tilt_deg, 1),
        roll_deg=round(found.roll_deg, 1),
        hfov_deg=round(found.hfov_deg, 1),
        distance_sigma=round(found.distance_sigma, 4) if np.isfinite(found.distance_sigma) else None,
        unsure=found.unsure or None,
        fault=one.fault,
        grid=camera_editor.grid(found.camera, (found.camera.image_width, found.camera.image_height)),
    )


def _fit(body: PointsBody, size: tuple[int, int]) -> Any:
    rows = np.array([[*point.px, *point.m] for point in body.points], np.float64).reshape(-1, 4)
    return camera_editor.fit(rows[:, :2], rows[:, 2:], size, body.hfov_deg)


def _keep(site: Site, view: CameraView, camera: CameraModel, words: str, error: dict[str, float]) -> Kept:
    name = camera_editor.keep(camera, view, site.settings, words, error)
    outcome = change_settings(site, {(*site.key_of(view), "calibration"): name})
    return Kept(live=outcome.live, needs_restart=outcome.needs_restart, file=name)


def _size_of(view: CameraView) -> tuple[int, int]:
    if view.image_size is None:
        abort(409, "the camera has given no picture yet; wait for one")
    return view.image_size


def _camera_of(view: CameraView) -> CameraModel:
    if view.camera is None:
        abort(409, "this camera has no calibration yet; calibrate it first")
    return view.camera.scaled_to(*_size_of(view))


def _jpeg(jpeg: Optional[bytes]) -> Response:
    if jpeg is None:
        abort(409, "there is no picture now; look at the live page for why")
    return Response(jpeg, mimetype="image/jpeg")


def _table(places: Pairs) -> Any:
    return np.array(places, np.float64).reshape(-1, 2)


def _places(table: Any, digits: int) -> tuple[Optional[Pair], ...]:
    return tuple((round(x, digits), round(y, digits)) if np.isfinite((x, y)).all() else None for x, y in table.tolist())

"""From feet in the picture to positions on the ground, with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from edge_app.calibration.camera import CameraModel, HomographyCamera, PinholeCamera
from edge_app.calibration.distortion import undistort
from edge_app.records import FloatArray, GroundPoints, Tracks

_LOST_M = 100.0
# Entries of the table of a lens: its error is a millionth of the distance from the centre.
_TABLE = 1024
# The table reaches beyond the picture's corner by this factor, as feet below the picture do.
_BEYOND = 1.3
# The third coordinate at the horizon is a small number next to the matrix, never next to one.
_HORIZON = 1e-12


class _Map(NamedTuple):
    """One camera as steps that all cameras share.

    Attributes:
        affine: (2, 3) pixels to centred coordinates.
        stretch: (T,) factor to undistorted coordinates, over the squared distance from the centre.
        reach: largest squared distance of the table.
        to_ground: (3, 3) homogeneous undistorted coordinates to the ground; the third positive before the horizon.
    """

    affine: FloatArray
    stretch: FloatArray
    reach: float
    to_ground: FloatArray


class GroundPlane:
    """Maps feet for a camera and its alternatives in one pass; what does not change is worked out once."""

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera
        cameras: Sequence[CameraModel] = (camera, *camera.alternatives)
        maps = [_map_of(each) for each in cameras]
        self._affine = np.array([each.affine for each in maps])
        self._stretch = np.array([each.stretch for each in maps])
        self._per_step = np.array([(_TABLE - 1) / each.reach for each in maps])[:, None]
        self._to_ground = np.array([each.to_ground for each in maps])
        self._smallest = _HORIZON * np.abs(self._to_ground).max(axis=(1, 2))[:, None]
        self._row = np.arange(len(maps))[:, None] * _TABLE

    def locate(self, foot: FloatArray, foot_cov: FloatArray) -> GroundPoints:
        """Put (N, 2) feet, pixels, with (N, 2, 2) covariances on the ground."""
        u, v = foot[:, 0], foot[:, 1]
        a = self._affine
        x = a[:, 0, 0, None] * u + a[:, 0, 1, None] * v + a[:, 0, 2, None]
        y = a[:, 1, 0, None] * u + a[:, 1, 1, None] * v + a[:, 1, 2, None]
        place = (x * x + y * y) * self._per_step
        # Whoever is beyond the table is beyond the lens: no position. NaN goes the same way.
        beyond = ~(place < _TABLE - 1)
        step = np.where(beyond, 0.0, place).astype(np.int64)
        table = self._stretch.ravel()
        low = table[self._row + step]
        slope = table[self._row + step + 1] - low
        stretch = low + slope * (place - step)
        h = self._to_ground
        along, across = stretch * x, stretch * y
        ground_x = h[:, 0, 0, None] * along + h[:, 0, 1, None] * across + h[:, 0, 2, None]
        ground_y = h[:, 1, 0, None] * along + h[:, 1, 1, None] * across + h[:, 1, 2, None]
        weight = h[:, 2, 0, None] * along + h[:, 2, 1, None] * across + h[:, 2, 2, None]
        weight[beyond | ~(weight > self._smallest)] = np.nan
        xy = np.stack([ground_x / weight, ground_y / weight], axis=-1)
        jacobian = self._jacobian(x[0], y[0], stretch[0], slope[0] * self._per_step[0], weight[0], xy[0])
        cov_m2 = jacobian @ foot_cov @ jacobian.transpose(0, 2, 1)
        valid = np.isfinite(xy[0]).all(axis=1) & np.isfinite(cov_m2).all(axis=(1, 2))
        # A camera one standard error away that sees no ground here: the place is as uncertain as can be.
        shift_m = xy[1:] - xy[0]
        shift_m[np.isnan(shift_m)] = _LOST_M
        xy_m = np.where(valid[:, None], xy[0], np.nan)
        cov_m2 = np.where(valid[:, None, None], cov_m2, np.nan)
        return GroundPoints(xy_m, cov_m2, valid, shift_m.transpose(1, 0, 2))

    def _jacobian(
        self, x: FloatArray, y: FloatArray, stretch: FloatArray, slope: FloatArray, weight: FloatArray, xy: FloatArray
    ) -> FloatArray:
        """Return (N, 2, 2) metres a pixel of the camera itself (rows: x, y; columns: u, v), by the chain rule."""
        twist = 2 * slope * x * y
        lens = np.empty((len(x), 2, 2))
        lens[:, 0, 0] = stretch + 2 * slope * x * x
        lens[:, 1, 1] = stretch + 2 * slope * y * y
        lens[:, 0, 1] = lens[:, 1, 0] = twist
        h = self._to_ground[0]
        plane = (h[None, :2, :2] - xy[:, :, None] * h[None, 2:, :2]) / weight[:, None, None]
        chain: FloatArray = plane @ lens @ self._affine[0, :, :2]
        return chain


class _SlowGroundPlane:
    """The same for cameras that do not fall into those steps: derivatives by differences."""

    _STEP_PX = 0.25

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera

    def locate(self, foot: FloatArray, foot_cov: FloatArray) -> GroundPoints:
        count, step = len(foot), self._STEP_PX
        offsets = np.array([[0, 0], [step, 0], [-step, 0], [0, step], [0, -step]])
        mapped = self.camera.image_to_ground((foot[None] + offsets[:, None]).reshape(-1, 2)).reshape(5, count, 2)
        jacobian = np.stack([mapped[1] - mapped[2], mapped[3] - mapped[4]], axis=2) / (2 * step)
        cov_m2 = jacobian @ foot_cov @ jacobian.transpose(0, 2, 1)
        valid = np.isfinite(mapped[0]).all(axis=1) & np.isfinite(cov_m2).all(axis=(1, 2))
        shifts = [other.image_to_ground(foot) - mapped[0] for other in self.camera.alternatives]
        shift_m = np.nan_to_num(np.array(shifts).reshape(-1, count, 2), nan=_LOST_M).transpose(1, 0, 2)
        xy_m = np.where(valid[:, None], mapped[0], np.nan)
        return GroundPoints(xy_m, np.where(valid[:, None, None], cov_m2, np.nan), valid, shift_m)


_AnyPlane = Union[GroundPlane, _SlowGroundPlane]
_planes: dict[int, _AnyPlane] = {}
_MOST_PLANES = 32


def locate(camera: Optional[CameraModel], tracks: Tracks) -> GroundPoints:
    """Put tracks on the ground plane.

    The covariance is the foot's covariance through the camera's Jacobian, the shifts are those of the camera's
    alternatives (first-order propagation of both).

    Args:
        camera: the calibration, or None; then no point is valid.
        tracks: N tracks.

    Returns:
        N ground points in the order of the tracks.
    """
    count = len(tracks)
    if camera is None or count == 0:
        return GroundPoints(
            np.full((count, 2), np.nan),
            np.full((count, 2, 2), np.nan),
            np.zeros(count, np.bool_),
            np.zeros((count, 0, 2)),
        )
    return _plane_of(camera).locate(tracks.foot, tracks.foot_cov)


def _plane_of(camera: CameraModel) -> _AnyPlane:
    """Return the plane of a camera, which is made once; it holds the camera, so that its identity is not used again."""
    plane = _planes.get(id(camera))
    if plane is None or plane.camera is not camera:
        if len(_planes) >= _MOST_PLANES:
            _planes.clear()
        cameras: Sequence[CameraModel] = (camera, *camera.alternatives)
        plane = GroundPlane(camera) if all(_has_map(each) for each in cameras) else _SlowGroundPlane(camera)
        _planes[id(camera)] = plane
    return plane


def _has_map(camera: CameraModel) -> bool:
    if isinstance(camera, PinholeCamera):
        return not camera.distortion[2:4].any()
    return isinstance(camera, HomographyCamera)


def _map_of(camera: CameraModel) -> _Map:
    if isinstance(camera, PinholeCamera):
        return _map_of_pinhole(camera)
    assert isinstance(camera, HomographyCamera)
    half = camera.image_width / 2
    centre = np.array([camera.image_width, camera.image_height]) / 2
    affine = np.array([[1 / half, 0, -centre[0] / half], [0, 1 / half, -centre[1] / half]])
    reach = (_BEYOND * float(np.hypot(*centre)) / half) ** 2
    # Exact, as the factor is linear in the squared distance. A lens that bends outwards ends where the map folds.
    squared = np.linspace(0.0, reach, _TABLE)
    to_pixels = np.array([[half, 0, centre[0]], [0, half, centre[1]], [0, 0, 1.0]])
    stretch = 1 + camera.bend * squared
    return _Map(affine, stretch, reach, camera.image_to_world @ to_pixels)


def _map_of_pinhole(camera: PinholeCamera) -> _Map:
    (fx, skew, cx), (_, fy, cy), _ = camera.matrix.tolist()
    affine = np.array([[1 / fx, -skew / (fx * fy), (skew * cy / fy - cx) / fx], [0, 1 / fy, -cy / fy]])
    corner = np.hypot(max(cx, camera.image_width - cx) / fx, max(cy, camera.image_height - cy) / fy)
    reach = (_BEYOND * float(corner)) ** 2
    radius = np.sqrt(np.linspace(0.0, reach, _TABLE))
    straight = undistort(np.column_stack([radius, np.zeros(_TABLE)]), camera.distortion)[:, 0]
    stretch = np.ones(_TABLE)
    stretch[1:] = straight[1:] / radius[1:]
    # A ray meets the ground at position - height * ray / ray_z, which is a homography of the ray's image.
    rays = camera.rotation
    x, y, height = camera.position_m.tolist()
    to_ground = np.array([height * rays[:, 0] - x * rays[:, 2], height * rays[:, 1] - y * rays[:, 2], -rays[:, 2]])
    return _Map(affine, stretch, reach, to_ground)

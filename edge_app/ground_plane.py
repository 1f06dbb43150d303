"""From feet in the picture to positions on the ground, with their uncertainty."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edge_app.calibration.camera import CameraModel
from edge_app.records import FloatArray, GroundPoints, Tracks

# Half step of the central difference, pixels: far above the lens inversion's accuracy, far below a foot's noise.
_STEP_PX = 0.25
_LOST_M = 100.0


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
    xy_m, jacobian = _map_with_jacobian(camera, tracks.foot)
    cov_m2 = jacobian @ tracks.foot_cov @ jacobian.transpose(0, 2, 1)
    valid = np.isfinite(xy_m).all(axis=1) & np.isfinite(cov_m2).all(axis=(1, 2))
    shifts = [other.image_to_ground(tracks.foot) - xy_m for other in camera.alternatives]
    # A camera one standard error away that sees no ground here: the place is as uncertain as can be.
    shift_m = np.nan_to_num(np.array(shifts).reshape(-1, count, 2), nan=_LOST_M).transpose(1, 0, 2)
    return GroundPoints(
        np.where(valid[:, None], xy_m, np.nan), np.where(valid[:, None, None], cov_m2, np.nan), valid, shift_m
    )


def _map_with_jacobian(camera: CameraModel, points_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (N, 2) metres and (N, 2, 2) metres per pixel (rows: x, y; columns: u, v), in one call of the camera."""
    count = len(points_px)
    offsets = np.array([[0, 0], [_STEP_PX, 0], [-_STEP_PX, 0], [0, _STEP_PX], [0, -_STEP_PX]])
    mapped = camera.image_to_ground((points_px[None] + offsets[:, None]).reshape(-1, 2)).reshape(5, count, 2)
    by_u = (mapped[1] - mapped[2]) / (2 * _STEP_PX)
    by_v = (mapped[3] - mapped[4]) / (2 * _STEP_PX)
    return mapped[0], np.stack([by_u, by_v], axis=2)

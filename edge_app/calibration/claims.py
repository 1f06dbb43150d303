"""What a calibration may claim: how well it knows distances where people can stand, and whether it should be used."""

from __future__ import annotations

import numpy as np

from edge_app.calibration.camera import CameraModel
from edge_app.records import FloatArray

_GAP_M = 2.0
_DIRECTIONS = 8


def gap_sigmas(camera: CameraModel, middle_m: FloatArray) -> FloatArray:
    """Return (8,) relative standard errors, calibration alone, of gaps of 2 m around a place, in all directions.

    Args:
        camera: with its alternatives; one without is exact.
        middle_m: (2,) metres on the ground.

    Returns:
        Infinity where the camera does not see the place.
    """
    angle = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    half = 0.5 * _GAP_M * np.column_stack([np.cos(angle), np.sin(angle)])
    ends_px = [camera.ground_to_image(middle_m + step) for step in (half, -half)]
    variance = np.zeros(_DIRECTIONS)
    for other in camera.alternatives:
        first, second = (other.image_to_ground(ends) for ends in ends_px)
        variance += (np.hypot(*(first - second).T) / _GAP_M - 1.0) ** 2
    if not all(np.isfinite(ends).all() for ends in ends_px):
        return np.full(_DIRECTIONS, np.inf)
    return np.sqrt(np.nan_to_num(variance, nan=np.inf))

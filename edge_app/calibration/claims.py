"""What a calibration may claim: how well it knows distances where people can stand, and whether it should be used."""

from __future__ import annotations

import numpy as np

from edge_app.calibration.camera import CameraModel
from edge_app.records import FloatArray

_GAP_M = 2.0
_DIRECTIONS = 8
_ROWS = 200
_RANGES_M = (2.0, 5.0, 10.0, 20.0)
# Relative standard error of 2 m from which a calibration claims nothing.
LARGEST_GAP_SIGMA = 0.2


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


def gap_by_range(camera: CameraModel) -> dict[float, float]:
    """Return how well a gap of 2 m is known, relative, at some distances from the nearest ground that is seen, metres.

    Places lie along the middle of the picture. A distance that is not seen, or not known at all, is missing.
    """
    column = np.linspace(camera.image_height - 1.0, 0.0, _ROWS)
    ground = camera.image_to_ground(np.column_stack([np.full(_ROWS, camera.image_width / 2), column]))
    ground = ground[np.isfinite(ground).all(axis=1)]
    if len(ground) == 0:
        return {}
    away = np.hypot(*(ground - ground[0]).T)
    found = {}
    for distance_m in _RANGES_M:
        if distance_m <= away.max():
            place = ground[int(np.abs(away - distance_m).argmin())]
            sigma = float(gap_sigmas(camera, place).max())
            if np.isfinite(sigma):
                found[distance_m] = sigma
    return found

"""How much two calibrations of one camera differ, and the homography of any camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.calibration.camera import CameraModel, HomographyCamera, PinholeCamera
from edge_app.errors import UserError
from edge_app.records import FloatArray

_ROWS, _COLUMNS = 9, 12
_GAP_M = 2.0
_DIRECTIONS = 8


@dataclass(frozen=True)
class Difference:
    """Two cameras beside one another.

    Attributes:
        places: number of places in the picture that were compared.
        median, p90: relative difference of a gap of 2 m.
        worst_px: (2,) pixels of the place at which they differ most.
        worst: relative difference there.
    """

    places: int
    median: float
    p90: float
    worst_px: FloatArray
    worst: float

    def __str__(self) -> str:
        """Return one sentence."""
        return (
            f"a gap of 2 m differs by {100 * self.median:.1f} % (median of {self.places} places), by up to "
            f"{100 * self.p90:.1f} % in 9 of 10 places, most at pixel {self.worst_px[0]:.0f}, {self.worst_px[1]:.0f}: "
            f"{100 * self.worst:.1f} %"
        )


def compare_cameras(first: CameraModel, second: CameraModel) -> Difference:
    """Compare gaps of 2 m on the ground that both see.

    Raises:
        UserError: the pictures have other shapes, or there is no ground that both see.
    """
    width, height = first.image_width, first.image_height
    if abs(width / height - second.image_width / second.image_height) > 0.01 * width / height:
        raise UserError("the two calibrations are of pictures of another shape; they can't be of one camera")
    other = second.scaled_to(width, height)
    x, y = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * width, (np.arange(_ROWS) + 0.5) / _ROWS * height
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    ground = first.image_to_ground(grid)
    worst = np.full(len(grid), np.nan)
    angles = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    for angle in angles:
        ends = ground + _GAP_M * np.array([np.cos(angle), np.sin(angle)])
        pixels = first.ground_to_image(ends)
        gap = np.hypot(*(other.image_to_ground(pixels) - other.image_to_ground(grid)).T)
        worst = np.fmax(worst, np.abs(gap - _GAP_M) / _GAP_M)
    seen = np.isfinite(worst) & (np.hypot(*(ground - np.nanmedian(ground, axis=0)).T) < 40.0)
    if not seen.any():
        raise UserError("there is no ground that both calibrations see; check that they are of one camera")
    place = int(np.flatnonzero(seen)[worst[seen].argmax()])
    return Difference(
        int(seen.sum()), float(np.median(worst[seen])), float(np.percentile(worst[seen], 90)), grid[place],
        float(worst[place]),
    )  # fmt: skip


def homography_of(camera: CameraModel) -> FloatArray:
    """Return the (3, 3) map from (undistorted) pixels to metres on the ground, its last element 1 if it is not 0."""
    if isinstance(camera, HomographyCamera):
        matrix = camera.image_to_world
    elif isinstance(camera, PinholeCamera):
        plane = np.column_stack([camera.rotation[:, 0], camera.rotation[:, 1], camera.translation_m])
        matrix = np.linalg.inv(camera.matrix @ plane)
    else:
        raise TypeError(f"no homography of a {type(camera).__name__}")
    last = matrix[2, 2]
    return matrix / last if abs(last) > 1e-12 * np.abs(matrix).max() else matrix

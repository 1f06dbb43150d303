"""The geometry of self-calibration: what a camera of unknown pose says of people's boxes, in closed form.

The camera stands ``height`` above the origin of the world frame and looks along +y, tilted down by ``tilt`` and turned
about its optical axis by ``roll`` (positive: the picture's content turns anticlockwise). Pixels are square and the
principal point is the centre of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np

from edge_app.calibration.camera import PinholeCamera
from edge_app.calibration.distortion import distorted_radius, largest_radius, opencv_distortion, unbend, undistort
from edge_app.records import FloatArray

# Keeps logarithms finite for feet at or above the horizon of a trial camera; such feet get a huge residual.
_TINY = 1e-4
_HEAD_ROUNDS = 3


class View(NamedTuple):
    """Pose and lens of a camera: angles in radians, logarithms of metres and of pixels, bend as in ``distortion``."""

    tilt: float
    roll: float
    log_height: float
    log_focal: float
    bend: float = 0.0


@dataclass(frozen=True)
class Lens:
    """What is known of the camera beforehand.

    Attributes:
        image_width, image_height: pixels.
        distortion: (5,) k1, k2, p1, p2, k3 of OpenCV's model, or None where it is not known: then a view's bend counts.
    """

    image_width: int
    image_height: int
    distortion: Optional[FloatArray]

    def normalise(self, points_px: FloatArray, view: View) -> FloatArray:
        """Return the undistorted image coordinates x / z, y / z of (..., 2) pixels."""
        centre = np.array([self.image_width / 2, self.image_height / 2])
        points = (points_px - centre) / np.exp(view.log_focal)
        if self.distortion is None:
            return unbend(points, view.bend)
        if not self.distortion.any():
            return points
        return undistort(points.reshape(-1, 2), self.distortion).reshape(points.shape)

    def stretch(self, radius: FloatArray, view: View) -> FloatArray:
        """Return how much farther from the centre points at (...) undistorted radii are than they are imaged."""
        if self.distortion is not None:
            limit = largest_radius(tuple(self.distortion.tolist()))
            radius = np.clip(radius, 1e-9, limit)
            return radius / distorted_radius(radius, self.distortion)
        imaged = radius
        for _ in range(6):
            imaged = radius / (1 + view.bend * imaged**2) * 0.5 + imaged * 0.5
        return 1 + view.bend * imaged**2

    def focal_of(self, hfov_deg: float) -> float:
        """Return the focal length, pixels, of a horizontal field of view; of a lens without bend if it is unknown."""
        edge = float(np.tan(np.deg2rad(hfov_deg) / 2))
        if self.distortion is not None:
            limit = largest_radius(tuple(self.distortion.tolist()))
            edge = float(distorted_radius(np.array(min(edge, limit)), self.distortion))
        return self.image_width / 2 / edge

    def hfov_of(self, view: View) -> float:
        """Return the horizontal field of view, degrees: the angle between the rays at the picture's two edges."""
        edge = np.array([[float(self.image_width), self.image_height / 2]])
        return float(2 * np.rad2deg(np.arctan(np.nan_to_num(self.normalise(edge, view)[0, 0], nan=1e3))))

    def distortion_of(self, view: View) -> FloatArray:
        """Return (5,) OpenCV's distortion of a view."""
        if self.distortion is not None:
            return self.distortion.copy()
        corner = np.hypot(self.image_width, self.image_height) / 2 / np.exp(view.log_focal)
        return opencv_distortion(view.bend, float(corner))


class Ground(NamedTuple):
    """Ground positions: (..., 2) metres, and (..., 2, 2) their derivatives by x / z and y / z (last axis)."""

    xy_m: FloatArray
    jacobian: FloatArray


def rotation_of(tilt: float, roll: float) -> FloatArray:
    """Return the (3, 3) rotation from world to camera; rows are the camera's right, down and forward axes."""
    level_right = np.array([1.0, 0.0, 0.0])
    level_down = np.array([0.0, -np.sin(tilt), -np.cos(tilt)])
    forward = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    right = np.cos(roll) * level_right + np.sin(roll) * level_down
    down = np.cos(roll) * level_down - np.sin(roll) * level_right
    return np.stack([right, down, forward])


def bent_focal(lens: Lens, hfov_deg: float, bend: float) -> float:
    """Return the focal length, pixels, of a field of view through a lens with a bend, or of the known distortion."""
    if lens.distortion is not None:
        return lens.focal_of(hfov_deg)
    edge = float(np.tan(np.deg2rad(hfov_deg) / 2))
    imaged = edge / (1 + max(bend, 0.0) * edge**2) ** (1 / 3)
    for _ in range(30):
        imaged -= (imaged * (1 + bend * imaged**2) - edge) / max(1 + 3 * bend * imaged**2, 1e-3)
    return lens.image_width / 2 / imaged


def camera_of(view: View, lens: Lens) -> PinholeCamera:
    """Make the camera: foot point at the origin, y along the viewing direction on the ground."""
    focal = np.exp(view.log_focal)
    matrix = np.array([[focal, 0, lens.image_width / 2], [0, focal, lens.image_height / 2], [0, 0, 1.0]])
    rotation = rotation_of(view.tilt, view.roll)
    position = np.array([0.0, 0.0, np.exp(view.log_height)])
    return PinholeCamera(
        lens.image_width, lens.image_height, matrix, lens.distortion_of(view), rotation, -rotation @ position
    )


def log_heights(view: View, foot: FloatArray, head_row: FloatArray) -> FloatArray:
    """Return (...) the heights of upright people, logarithms of metres.

    The foot's ray meets the ground at depth ``Z = height / q``; the head's row ``y_h`` then fixes the body height
    ``h = Z (y - y_h) / (cos roll cos tilt - y_h sin tilt)``: the projection of a vertical segment, solved for its
    length.

    Args:
        view: trial camera.
        foot: (..., 2) normalised image coordinates of the feet.
        head_row: (...) normalised rows of the heads.
    """
    x, y = foot[..., 0], foot[..., 1]
    row_of_up = np.cos(view.roll) * np.cos(view.tilt)
    below_horizon = np.maximum(x * np.sin(view.roll) * np.cos(view.tilt) + y * row_of_up + np.sin(view.tilt), _TINY)
    length = np.maximum(y - head_row, _TINY)
    from_zenith = np.maximum(row_of_up - head_row * np.sin(view.tilt), _TINY)
    log_m: FloatArray = view.log_height - np.log(below_horizon) + np.log(length) - np.log(from_zenith)
    return log_m


def head_rows(view: View, lens: Lens, foot: FloatArray, head_row_px: FloatArray) -> FloatArray:
    """Return the normalised rows of heads, given their rows in the picture.

    In a bent lens a row is no line. The head of an upright person is beside the foot in the picture, if the camera
    looks down or is rolled; how far depends on the row that is looked for, so both are found in turn.

    Args:
        view, lens: trial camera.
        foot: (N, 2) normalised image coordinates of the feet.
        head_row_px: (N,) rows of the heads, pixels.
    """
    imaged: FloatArray = (head_row_px - lens.image_height / 2) / np.exp(view.log_focal)
    if lens.distortion is not None and not lens.distortion.any():
        return imaged
    up_x, up_y, up_z = rotation_of(view.tilt, view.roll)[:, 2]
    row = imaged
    for _ in range(_HEAD_ROUNDS):
        length = (foot[:, 1] - row) / np.maximum(-up_y + row * up_z, _TINY)
        column = (foot[:, 0] + length * up_x) / np.maximum(1 + length * up_z, _TINY)
        row = imaged * lens.stretch(np.hypot(column, row), view)
    return row


def ground_positions(view: View, foot: FloatArray) -> Ground:
    """Intersect the rays of (..., 2) normalised image coordinates with the ground."""
    right, down, forward = rotation_of(view.tilt, view.roll)
    x, y = foot[..., 0, None], foot[..., 1, None]
    ray = x * right + y * down + forward
    drop = np.maximum(-ray[..., 2:], _TINY)
    height = np.exp(view.log_height)
    xy_m = height * ray[..., :2] / drop
    # Quotient rule; -right[2] and -down[2] are the derivatives of the drop.
    by_x = height * (right[:2] * drop + ray[..., :2] * right[2]) / drop**2
    by_y = height * (down[:2] * drop + ray[..., :2] * down[2]) / drop**2
    return Ground(xy_m, np.stack([by_x, by_y], axis=-1))

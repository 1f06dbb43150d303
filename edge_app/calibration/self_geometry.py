"""The geometry of self-calibration: what a camera of unknown pose says of people's boxes, in closed form.

The camera stands ``height`` above the origin of the world frame and looks along +y, tilted down by ``tilt`` and turned
about its optical axis by ``roll`` (positive: the picture's content turns anticlockwise). Pixels are square and the
principal point is the centre of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from edge_app.calibration.camera import PinholeCamera
from edge_app.records import FloatArray

# Keeps logarithms finite for feet at or above the horizon of a trial camera; such feet get a huge residual.
_TINY = 1e-4
_UNDISTORT_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-7)


class View(NamedTuple):
    """Pose and focal length of a camera: angles in radians, logarithms of metres and of pixels."""

    tilt: float
    roll: float
    log_height: float
    log_focal: float


@dataclass(frozen=True)
class Lens:
    """What is known of the camera beforehand.

    Attributes:
        image_width, image_height: pixels.
        distortion: (5,) k1, k2, p1, p2, k3 of OpenCV's model; zeros where it is not known.
    """

    image_width: int
    image_height: int
    distortion: FloatArray

    def normalise(self, points_px: FloatArray, log_focal: float) -> FloatArray:
        """Return the undistorted image coordinates x / z, y / z of (..., 2) pixels."""
        centre = np.array([self.image_width / 2, self.image_height / 2])
        points = (points_px - centre) / np.exp(log_focal)
        if not self.distortion.any():
            return points
        flat = cv2.undistortPointsIter(
            points.reshape(-1, 1, 2), np.eye(3), self.distortion, np.eye(3), np.eye(3), _UNDISTORT_CRITERIA
        )
        return flat.reshape(points.shape).astype(np.float64)

    def focal_of(self, hfov_deg: float) -> float:
        """Return the focal length, pixels, of a horizontal field of view (without distortion)."""
        return float(self.image_width / 2 / np.tan(np.deg2rad(hfov_deg) / 2))

    def hfov_of(self, focal_px: float) -> float:
        """Return the horizontal field of view, degrees (without distortion)."""
        return float(np.rad2deg(2 * np.arctan(self.image_width / 2 / focal_px)))


class Heights(NamedTuple):
    """Body heights that boxes imply: (...) log metres, and their derivatives by the rows, per unit of y / z."""

    log_m: FloatArray
    by_foot: FloatArray
    by_head: FloatArray


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


def camera_of(view: View, lens: Lens) -> PinholeCamera:
    """Make the camera: foot point at the origin, y along the viewing direction on the ground."""
    focal = np.exp(view.log_focal)
    matrix = np.array([[focal, 0, lens.image_width / 2], [0, focal, lens.image_height / 2], [0, 0, 1.0]])
    rotation = rotation_of(view.tilt, view.roll)
    position = np.array([0.0, 0.0, np.exp(view.log_height)])
    return PinholeCamera(
        lens.image_width, lens.image_height, matrix, lens.distortion.copy(), rotation, -rotation @ position
    )


def implied_heights(view: View, foot: FloatArray, head_row: FloatArray) -> Heights:
    """Return the heights of upright people.

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
    log_m = view.log_height - np.log(below_horizon) + np.log(length) - np.log(from_zenith)
    by_foot = 1 / length - row_of_up / below_horizon
    by_head = np.sin(view.tilt) / from_zenith - 1 / length
    return Heights(log_m, by_foot, by_head)


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

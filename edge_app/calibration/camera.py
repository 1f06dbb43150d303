"""Camera models: the map between source pixels and metres on the ground plane.

The world frame is right-handed with the ground at z = 0 and z pointing up; x and y are metres on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from edge_app.calibration.distortion import largest_radius, unbend, undistort
from edge_app.records import FloatArray

_BEND_ROUNDS = 12


class CameraModel(Protocol):
    """What every stage may ask of a calibrated camera."""

    @property
    def image_width(self) -> int:
        """Width of the picture that the calibration belongs to, pixels."""

    @property
    def image_height(self) -> int:
        """Height of the picture that the calibration belongs to, pixels."""

    @property
    def alternatives(self) -> tuple[CameraModel, ...]:
        """Cameras one standard error away, one for each independent direction of the error; none if it is exact."""

    def image_to_ground(self, points_px: FloatArray) -> FloatArray:
        """Map (N, 2) source pixels to (N, 2) metres; NaN where the ray does not meet the ground before the camera."""

    def ground_to_image(self, points_m: FloatArray) -> FloatArray:
        """Map (N, 2) metres on the ground to (N, 2) source pixels; NaN for points behind the camera."""

    def scaled_to(self, width: int, height: int) -> CameraModel:
        """Return the same camera for a picture of another resolution (pixels) and the same aspect."""


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera with OpenCV's lens distortion and a pose over the ground.

    Attributes:
        image_width, image_height: pixels.
        matrix: (3, 3) intrinsics, pixels.
        distortion: (5,) k1, k2, p1, p2, k3 of OpenCV's model (docs.opencv.org, calib3d).
        rotation: (3, 3) world to camera.
        translation_m: (3,) world to camera, metres: ``camera = rotation @ world + translation_m``.
        alternatives: see ``CameraModel``.
    """

    image_width: int
    image_height: int
    matrix: FloatArray
    distortion: FloatArray
    rotation: FloatArray
    translation_m: FloatArray
    alternatives: tuple[PinholeCamera, ...] = ()
    position_m: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position_m", -self.rotation.T @ self.translation_m)

    def image_to_ground(self, points_px: FloatArray) -> FloatArray:
        """Intersect the viewing rays of (N, 2) pixels with z = 0; NaN where a ray points at or above the horizon."""
        return self.image_to_plane(points_px, 0.0)

    def image_to_plane(self, points_px: FloatArray, height_m: float) -> FloatArray:
        """Intersect the viewing rays of (N, 2) pixels with the level plane at ``height_m``; (N, 2) metres or NaN."""
        return self.normalised_to_plane(self.normalise(points_px), height_m)

    def normalised_to_plane(self, normalised: FloatArray, height_m: float) -> FloatArray:
        """Do the same with (N, 2) undistorted image coordinates, as ``normalise`` returns them."""
        rays = normalised @ self.rotation[:2] + self.rotation[2]
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = (height_m - self.position_m[2]) / rays[:, 2]
            plane = self.position_m[:2] + scale[:, None] * rays[:, :2]
        plane[~((scale > 0) & np.isfinite(scale))] = np.nan
        return plane

    def normalise(self, points_px: FloatArray) -> FloatArray:
        """Return the (N, 2) undistorted image coordinates x / z, y / z of (N, 2) pixels; NaN beyond the lens."""
        points = np.asarray(points_px, np.float64).reshape(-1, 2)
        (fx, skew, cx), (_, fy, cy), _ = self.matrix.tolist()
        y = (points[:, 1] - cy) / fy
        return undistort(np.column_stack([(points[:, 0] - cx - skew * y) / fx, y]), self.distortion)

    def ground_to_image(self, points_m: FloatArray) -> FloatArray:
        """Project (N, 2) ground points, metres, to pixels; NaN behind the camera."""
        points = np.asarray(points_m, np.float64).reshape(-1, 2)
        return self.world_to_image(np.column_stack([points, np.zeros(len(points))]))

    def world_to_image(self, points_m: FloatArray) -> FloatArray:
        """Project (N, 3) world points, metres, to (N, 2) pixels; NaN behind the camera and where the lens ends."""
        points = np.asarray(points_m, np.float64).reshape(-1, 3)
        if len(points) == 0:
            return np.zeros((0, 2))
        x, y, depth = (points @ self.rotation.T + self.translation_m).T
        rotation_vector, _ = cv2.Rodrigues(self.rotation)
        pixels, _ = cv2.projectPoints(points, rotation_vector, self.translation_m, self.matrix, self.distortion)
        result = pixels.reshape(-1, 2).astype(np.float64)
        beyond = np.hypot(x, y) > largest_radius(tuple(self.distortion.tolist())) * depth
        result[(depth <= 1e-6) | beyond] = np.nan
        return result

    def scaled_to(self, width: int, height: int) -> PinholeCamera:
        """Return the same camera for a picture of another resolution."""
        scale = np.diag([width / self.image_width, height / self.image_height, 1.0])
        others = tuple(other.scaled_to(width, height) for other in self.alternatives)
        return PinholeCamera(
            width, height, scale @ self.matrix, self.distortion, self.rotation, self.translation_m, others
        )


@dataclass(frozen=True)
class HomographyCamera:
    """A plane-to-plane map, for a calibration from ground points alone: no pose, and of the lens only its bend.

    Attributes:
        image_width, image_height: pixels.
        image_to_world: (3, 3), homogeneous pixels without distortion to homogeneous ground metres.
        alternatives: see ``CameraModel``.
        bend: a pixel ``d`` from the centre of the picture, in halves of its width, would be at ``d (1 + bend d²)``
            without distortion.
    """

    image_width: int
    image_height: int
    image_to_world: FloatArray
    alternatives: tuple[HomographyCamera, ...] = ()
    bend: float = 0.0

    def __post_init__(self) -> None:
        # The horizon is where the third coordinate changes sign; the picture's bottom centre is taken to be ground.
        bottom_centre = np.append(self.without_distortion(np.array([[self.image_width / 2, self.image_height]])), 1.0)
        if (self.image_to_world @ bottom_centre)[2] < 0:
            object.__setattr__(self, "image_to_world", -self.image_to_world)

    def image_to_ground(self, points_px: FloatArray) -> FloatArray:
        """Map (N, 2) pixels to metres; NaN on and above the horizon."""
        points = np.asarray(points_px, np.float64).reshape(-1, 2)
        return _apply_homography(self.image_to_world, self.without_distortion(points))

    def without_distortion(self, points_px: FloatArray) -> FloatArray:
        """Return where (N, 2) pixels would be without distortion."""
        if self.bend == 0:
            return points_px
        centre, half = np.array([self.image_width, self.image_height]) / 2, self.image_width / 2
        return centre + half * unbend((points_px - centre) / half, self.bend)

    def ground_to_image(self, points_m: FloatArray) -> FloatArray:
        """Map (N, 2) metres to pixels; NaN for points behind the camera."""
        inverse = np.linalg.inv(self.image_to_world)
        # With this sign, ground seen in the picture has a positive third coordinate in both directions.
        points = np.asarray(points_m, np.float64).reshape(-1, 2)
        bottom_px = self.without_distortion(np.array([[self.image_width / 2, self.image_height]]))
        bottom = self.image_to_world @ np.append(bottom_px, 1.0)
        if (inverse @ (bottom / bottom[2]))[2] < 0:
            inverse = -inverse
        return self._with_distortion(_apply_homography(inverse, points))

    def _with_distortion(self, points_px: FloatArray) -> FloatArray:
        """Invert ``without_distortion``; NaN where the lens images nothing."""
        if self.bend == 0:
            return points_px
        centre, half = np.array([self.image_width, self.image_height]) / 2, self.image_width / 2
        points = (points_px - centre) / half
        straight = np.hypot(points[:, 0], points[:, 1])
        # A lens that bends outwards (negative) reaches its end where the map stops to grow.
        limit = np.inf if self.bend > 0 else float(np.sqrt(-1 / (3 * self.bend)))
        imaged = np.minimum(straight / (1 + max(self.bend, 0.0) * straight**2) ** (1 / 3), limit)
        for _ in range(_BEND_ROUNDS):
            slope = np.maximum(1 + 3 * self.bend * imaged**2, 1e-6)
            imaged = np.clip(imaged - (imaged * (1 + self.bend * imaged**2) - straight) / slope, 0.0, limit)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(straight > 0, imaged / straight, 1.0)
        if np.isfinite(limit):
            scale[straight > limit * (1 + self.bend * limit**2)] = np.nan
        return centre + half * scale[:, None] * points

    def scaled_to(self, width: int, height: int) -> HomographyCamera:
        """Return the same map for a picture of another resolution."""
        scale = np.diag([self.image_width / width, self.image_height / height, 1.0])
        others = tuple(other.scaled_to(width, height) for other in self.alternatives)
        return HomographyCamera(width, height, self.image_to_world @ scale, others, self.bend)


def _apply_homography(matrix: FloatArray, points: FloatArray) -> FloatArray:
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    weight = homogeneous[:, 2]
    # The third coordinate at the horizon is a small number next to the matrix, never next to one.
    with np.errstate(divide="ignore", invalid="ignore"):
        result = homogeneous[:, :2] / weight[:, None]
    result[~(weight > 1e-12 * np.abs(matrix).max())] = np.nan
    return result

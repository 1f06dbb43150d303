"""Calibration from points whose places on the ground are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from edge_app.calibration.camera import CameraModel, PinholeCamera
from edge_app.calibration.claims import LARGEST_GAP_SIGMA, gap_sigmas
from edge_app.calibration.points_fit import FittedCamera, Intrinsics, fit_homography, fit_pose, straight_trials
from edge_app.errors import UserError
from edge_app.records import FloatArray

__all__ = ["Intrinsics", "PointsCalibration", "calibrate_points", "rectangle_corners"]

_FEWEST = 4
# A point this far off, parts of the picture's width, is an outlier; and a calibration this bad is refused.
_OUTLIER = 0.015
_LARGEST_ERROR = 0.01
# Points whose spread across their main direction is below this part of the spread along it lie on a line.
_THINNEST = 0.02
# Standard deviation of a click, pixels of a picture 1280 wide: what the stated error assumes.
_CLICK_PX = 2.0
# Where cameras are mounted, metres, and how far they are turned about their viewing direction, degrees.
_HEIGHTS_M = (0.5, 100.0)
_LARGEST_ROLL_DEG = 60.0
# Nine of ten errors are within this many standard deviations.
_SD_OF_P90 = 1.645
_GAP_M = 2.0


@dataclass(frozen=True)
class PointsCalibration:
    """A result.

    Attributes:
        camera: homography, or pinhole where the lens was known; its alternatives follow from clicks that are wrong by
            2 pixels of a picture 1280 wide, or by more where the residuals are larger, and from what the points leave
            open of the lens.
        used: (N,) bool, points that were not outliers.
        residual_px: (N,) distance between each point and where its place on the ground is drawn, pixels.
        gap_error_m: 90th percentile of the error of a gap of 2 m in the middle of the points, as it follows from the
            alternatives.
    """

    camera: CameraModel
    used: np.ndarray
    residual_px: FloatArray
    gap_error_m: float

    @property
    def error(self) -> dict[str, float]:
        """Figures for the camera file."""
        rms = float(np.sqrt((self.residual_px[self.used] ** 2).mean()))
        return {"reprojection_rms_px": round(rms, 3), "gap_2m_p90_error_m": round(self.gap_error_m, 4),
                "points": float(self.used.sum()), "outliers": float((~self.used).sum())}  # fmt: skip


def calibrate_points(
    points_px: FloatArray, points_m: FloatArray, image_size: tuple[int, int], lens: Optional[Intrinsics] = None
) -> PointsCalibration:
    """Fit a camera to points on the ground.

    Args:
        points_px: (N, 2) source pixels, N at least 4.
        points_m: (N, 2) metres on the ground.
        image_size: width, height of the picture, pixels.
        lens: where known; then the camera's pose is fitted, which also gives heights of people.

    Raises:
        UserError: too few points, or they lie on a line, cross, reach over the horizon, or do not fit together.
    """
    _check_points(points_px, points_m)
    trial = _best_trial(points_px, points_m, image_size, lens)
    used = trial.used
    _check_sides(trial.to_image, trial.straight_px[used])
    sigma = _CLICK_PX * image_size[0] / 1280.0
    camera = _camera(trial, points_px[used], points_m[used], image_size, lens, sigma)
    residual = np.hypot(*(camera.ground_to_image(points_m) - points_px).T)
    worst = float(np.sqrt((residual[used] ** 2).mean()))
    if not worst <= _LARGEST_ERROR * image_size[0]:
        raise UserError(
            f"the points do not fit together: {worst:.1f} pixels off on average; check their order and their metres "
            f"(point {int(np.argmax(np.nan_to_num(residual, nan=np.inf))) + 1} is worst)"
        )
    sigmas = gap_sigmas(camera, points_m[used].mean(axis=0))
    _check_claim(float(sigmas.max()))
    return PointsCalibration(camera, used, residual, _SD_OF_P90 * _GAP_M * float(np.sqrt((sigmas**2).mean())))


def rectangle_corners(width_m: float, length_m: float) -> FloatArray:
    """Return the (4, 2) ground points of a rectangle: near left, near right, far right, far left."""
    if not (width_m > 0 and length_m > 0):
        raise UserError("the sides of the rectangle must be more than 0 metres; measure them")
    return np.array([[0.0, 0.0], [width_m, 0.0], [width_m, length_m], [0.0, length_m]])


def _check_points(points_px: FloatArray, points_m: FloatArray) -> None:
    if len(points_px) < _FEWEST:
        raise UserError(f"{len(points_px)} points are too few; give at least {_FEWEST} that are not on one line")
    if not (np.isfinite(points_px).all() and np.isfinite(points_m).all()):
        raise UserError("a point is not a number; correct it")
    for name, points in (("in the picture", points_px), ("on the ground", points_m)):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] <= _THINNEST * spread[0]:
            raise UserError(f"the points lie on one line {name}; add points beside it")
    if len(points_px) == _FEWEST:
        for left_out in range(_FEWEST):
            three = np.delete(points_px, left_out, axis=0)
            spread = np.linalg.svd(three - three.mean(axis=0), compute_uv=False)
            if spread[1] <= _THINNEST * spread[0]:
                raise UserError("three of the four points lie on one line; move one of them or add a fifth")


@dataclass(frozen=True)
class _Trial:
    """Points sorted into right and wrong ones, by a homography from metres to pixels without the lens's distortion."""

    bend: float
    straight_px: FloatArray
    to_image: FloatArray
    used: np.ndarray

    def unlikelihood(self, points_m: FloatArray, tolerance: float) -> float:
        ends = cv2.perspectiveTransform(points_m.reshape(-1, 1, 2), self.to_image).reshape(-1, 2)
        missed = np.hypot(*(ends - self.straight_px).T) / tolerance
        return float(np.minimum(missed, 1.0).sum())


def _best_trial(
    points_px: FloatArray, points_m: FloatArray, image_size: tuple[int, int], lens: Optional[Intrinsics]
) -> _Trial:
    """Try several bends of the lens, as a bent lens makes good points look wrong; the earlier one wins a draw.

    Raises:
        UserError: no four points fit any of them.
    """
    tolerance = _OUTLIER * image_size[0]
    best: Optional[_Trial] = None
    failed: Optional[UserError] = None
    for bend, straight_px in straight_trials(points_px, image_size, lens):
        try:
            trial = _Trial(bend, straight_px, *_homography(straight_px, points_m, tolerance))
        except UserError as error:
            failed = failed or error
            continue
        if best is None or trial.unlikelihood(points_m, tolerance) < 0.7 * best.unlikelihood(points_m, tolerance):
            best = trial
    if best is None:
        assert failed is not None
        raise failed
    return best


def _homography(points_px: FloatArray, points_m: FloatArray, tolerance: float) -> tuple[FloatArray, np.ndarray]:
    """Return the (3, 3) map from metres to pixels and which points fit it."""
    if not np.isfinite(points_px).all():
        raise UserError("a point lies where such a lens images nothing; check the distortion and the points")
    method = cv2.RANSAC if len(points_px) > _FEWEST else 0
    matrix, inliers = cv2.findHomography(points_m, points_px, method, tolerance, maxIters=5000, confidence=0.999)
    if matrix is None or not np.isfinite(matrix).all():
        raise UserError("no camera sees these points like that; check their order and their metres")
    used = inliers.ravel().astype(bool) if method else np.ones(len(points_px), bool)
    if used.sum() < _FEWEST:
        raise UserError("no four of the points fit together; check their order and their metres")
    if method:
        refined, _ = cv2.findHomography(points_m[used], points_px[used], 0)
        matrix = refined if refined is not None else matrix
    return np.asarray(matrix, np.float64), used


def _check_sides(to_image: FloatArray, points_px: FloatArray) -> None:
    """Refuse points between which the horizon runs: their order crosses, or one is no ground."""
    weight = np.column_stack([points_px, np.ones(len(points_px))]) @ np.linalg.inv(to_image)[2]
    if not ((weight > 0).all() or (weight < 0).all()):
        raise UserError("the horizon would run between the points: they cross, or one is no ground; check their order")


def _camera(
    trial: _Trial,
    points_px: FloatArray,
    points_m: FloatArray,
    image_size: tuple[int, int],
    lens: Optional[Intrinsics],
    sd_px: float,
) -> FittedCamera:
    if lens is None:
        camera = fit_homography(trial.to_image, trial.bend, points_px, points_m, image_size, sd_px).camera
        if not np.isfinite(camera.image_to_ground(points_px)).all():
            raise UserError("the bottom of the picture would see no ground; check the order of the points")
        _check_not_mirrored(camera, points_px)
        return camera
    straight_px = trial.straight_px[trial.used]
    found = fit_pose(lens, trial.bend, straight_px, points_px, points_m, image_size, sd_px)
    if found is None:
        raise UserError("no pose of the camera fits the points; check their order, their metres and the lens")
    assert isinstance(found.camera, PinholeCamera)
    _check_plausible(found.camera)
    return found.camera


def _check_not_mirrored(camera: FittedCamera, points_px: FloatArray) -> None:
    """Refuse ground whose axes turn the wrong way round, which no camera above it sees."""
    middle = points_px.mean(axis=0)
    ends = camera.image_to_ground(middle + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    right, down = ends[1] - ends[0], ends[2] - ends[0]
    if right[0] * down[1] - right[1] * down[0] > 0:
        raise UserError("the points are mirrored, as seen from under the ground; exchange x and y")


def _check_plausible(camera: PinholeCamera) -> None:
    """Refuse a camera that nobody mounts."""
    height_m = camera.position_m[2]
    if height_m <= 0:
        raise UserError("the camera would stand under the ground: the points are mirrored; exchange x and y")
    roll_deg = float(np.rad2deg(np.arctan2(camera.rotation[0, 2], -camera.rotation[1, 2])))
    if not _HEIGHTS_M[0] <= height_m <= _HEIGHTS_M[1] or abs(roll_deg) > _LARGEST_ROLL_DEG:
        raise UserError(
            f"that would be an implausible camera, {height_m:.1f} m high and turned by {roll_deg:.0f} degrees; check "
            "the points, their metres and the field of view"
        )


def _check_claim(gap_sigma: float) -> None:
    """Refuse a calibration that does not even know a gap in the middle of its own points."""
    if not gap_sigma <= LARGEST_GAP_SIGMA:
        raise UserError(
            f"these points say too little: amid them a gap of 2 m would be known to {100 * gap_sigma:.0f} % only; take "
            "points farther apart, most of all from near to far, or more of them"
        )

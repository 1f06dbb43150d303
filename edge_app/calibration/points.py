"""Calibration from points whose places on the ground are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

import cv2
import numpy as np

from edge_app.calibration.alternatives import homography_alternatives, pinhole_alternatives
from edge_app.calibration.camera import CameraModel, HomographyCamera, PinholeCamera
from edge_app.errors import UserError
from edge_app.records import FloatArray

_FEWEST = 4
# A point this far off, parts of the picture's width, is an outlier; and a calibration this bad is refused.
_OUTLIER = 0.015
_LARGEST_ERROR = 0.01
# Points whose spread across their main direction is below this part of the spread along it lie on a line.
_THINNEST = 0.02
# Standard deviation of a click, pixels of a picture 1280 wide: what the stated error assumes.
_CLICK_PX = 2.0
_DRAWS = 200
_SEED = 0
# A focal length from a data sheet: rounded, and different a little between specimens.
_FOCAL_SD = 0.015
_GAP_M = 2.0


@dataclass(frozen=True)
class Intrinsics:
    """A known lens.

    Attributes:
        matrix: (3, 3) pixels.
        distortion: (5,) of OpenCV's model.
    """

    matrix: FloatArray
    distortion: FloatArray


@dataclass(frozen=True)
class PointsCalibration:
    """A result.

    Attributes:
        camera: homography, or pinhole where the lens was known; its alternatives follow from clicks that are wrong by
            2 pixels of a picture 1280 wide, or by more where the residuals are larger.
        used: (N,) bool, points that were not outliers.
        residual_px: (N,) distance between each point and where its place on the ground is drawn, pixels.
        gap_error_m: 90th percentile of the error of a gap of 2 m in the middle of the points, if each was clicked with
            a standard deviation of 2 pixels of a picture 1280 wide.
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
    flat_px = points_px if lens is None else _undistorted(points_px, lens)
    tolerance = _OUTLIER * image_size[0]
    homography, used = _homography(flat_px, points_m, tolerance)
    _check_sides(homography, flat_px[used])
    camera = _camera(homography, flat_px[used], points_m[used], image_size, lens)
    residual = np.hypot(*(camera.ground_to_image(points_m) - points_px).T)
    worst = float(np.sqrt((residual[used] ** 2).mean()))
    if not worst <= _LARGEST_ERROR * image_size[0]:
        raise UserError(
            f"the points do not fit together: {worst:.1f} pixels off on average; check their order and their metres "
            f"(point {int(np.nanargmax(residual)) + 1} is worst)"
        )
    sigma = _CLICK_PX * image_size[0] / 1280.0
    gap_error_m = _gap_error(flat_px[used], points_m[used], sigma)
    # Four points are met exactly; with more, what remains of 2N coordinates after 8 parameters tells their noise.
    freedom = 2 * int(used.sum()) - 8
    scatter = float(np.sqrt((residual[used] ** 2).sum() / freedom)) if freedom > 0 else 0.0
    uncertain = _with_alternatives(camera, flat_px[used], points_m[used], lens, max(sigma, scatter))
    return PointsCalibration(uncertain, used, residual, gap_error_m)


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


def _homography(points_px: FloatArray, points_m: FloatArray, tolerance: float) -> tuple[FloatArray, np.ndarray]:
    """Return the (3, 3) map from metres to pixels and which points fit it."""
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
    to_image: FloatArray,
    points_px: FloatArray,
    points_m: FloatArray,
    image_size: tuple[int, int],
    lens: Optional[Intrinsics],
) -> CameraModel:
    width, height = image_size
    if lens is None:
        to_world = np.linalg.inv(to_image)
        weight = to_world[2] @ np.append(points_px.mean(axis=0), 1.0)
        camera = HomographyCamera(width, height, to_world / weight)
        if not np.isfinite(camera.image_to_ground(points_px)).all():
            raise UserError("the bottom of the picture would see no ground; check the order of the points")
        return camera
    ground = np.column_stack([points_m, np.zeros(len(points_m))])
    found, turn, shift = cv2.solvePnP(ground, points_px, lens.matrix, np.zeros(5), flags=cv2.SOLVEPNP_IPPE)
    if not found:
        raise UserError("no pose of the camera fits the points; check their order, their metres and the lens")
    turn, shift = cv2.solvePnPRefineLM(ground, points_px, lens.matrix, np.zeros(5), turn, shift)
    rotation, _ = cv2.Rodrigues(turn)
    turned, moved = np.asarray(rotation, np.float64), np.asarray(shift, np.float64).ravel()
    pinhole = PinholeCamera(width, height, lens.matrix, lens.distortion, turned, moved)
    if pinhole.position_m[2] <= 0:
        raise UserError("the camera would stand under the ground: the points are mirrored; exchange x and y")
    return pinhole


def _with_alternatives(
    camera: CameraModel, points_px: FloatArray, points_m: FloatArray, lens: Optional[Intrinsics], sigma_px: float
) -> CameraModel:
    """Refit with every coordinate of every point moved by its standard deviation, and with another focal length."""
    size = (camera.image_width, camera.image_height)
    refits = []
    for number in range(points_px.size):
        moved = points_px.copy()
        moved.ravel()[number] += sigma_px
        matrix, _ = cv2.findHomography(points_m, moved, 0)
        if matrix is not None:
            refits.append(_camera(np.asarray(matrix, np.float64), moved, points_m, size, lens))
    if isinstance(camera, HomographyCamera):
        homographies = [refit for refit in refits if isinstance(refit, HomographyCamera)]
        return replace(camera, alternatives=homography_alternatives(camera, homographies))
    assert isinstance(camera, PinholeCamera) and lens is not None
    longer = np.array([[1 + _FOCAL_SD, 1, 1], [1, 1 + _FOCAL_SD, 1], [1, 1, 1.0]])
    other_lens = Intrinsics(lens.matrix * longer, lens.distortion)
    refits.append(_camera(np.eye(3), points_px, points_m, size, other_lens))
    pinholes = [refit for refit in refits if isinstance(refit, PinholeCamera)]
    return replace(camera, alternatives=pinhole_alternatives(camera, pinholes))


def _undistorted(points_px: FloatArray, lens: Intrinsics) -> FloatArray:
    points = cv2.undistortPoints(points_px.reshape(-1, 1, 2), lens.matrix, lens.distortion, None, None, lens.matrix)
    return points.reshape(-1, 2).astype(np.float64)


def _gap_error(points_px: FloatArray, points_m: FloatArray, sigma_px: float) -> float:
    """Return the 90th percentile of the error of 2 m in the middle of the points when all are clicked anew."""
    rng = np.random.default_rng(_SEED)
    middle = points_m.mean(axis=0)
    angle = rng.uniform(0, 2 * np.pi, _DRAWS)
    half = 0.5 * _GAP_M * np.column_stack([np.cos(angle), np.sin(angle)])
    truth, _ = cv2.findHomography(points_m, points_px, 0)
    errors = []
    for step in half:
        noisy = points_px + rng.normal(0, sigma_px, points_px.shape)
        matrix, _ = cv2.findHomography(noisy, points_m, 0)
        if matrix is None:
            errors.append(np.inf)
            continue
        ends = np.array([middle - step, middle + step]).reshape(-1, 1, 2)
        ground = cv2.perspectiveTransform(cv2.perspectiveTransform(ends, truth), matrix).reshape(-1, 2)
        errors.append(abs(float(np.hypot(*(ground[1] - ground[0]))) - _GAP_M))
    return float(np.percentile(errors, 90))

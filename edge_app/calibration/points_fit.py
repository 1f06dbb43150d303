"""The camera that fits ground points best, and how sure that is: least squares with beliefs about the lens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Union

import cv2
import numpy as np
from scipy.optimize import least_squares

from edge_app.calibration.camera import HomographyCamera, PinholeCamera
from edge_app.calibration.distortion import UNKNOWN_BEND, UNKNOWN_BEND_SD, opencv_distortion, unbend, undistort
from edge_app.records import FloatArray

# A lens of unknown field of view: how much farther out the edge of the picture would be without distortion. An
# equidistant lens has 5 % at 45 degrees, 15 % at 70 and 27 % at 90; most are between that and none.
EDGE_BEND_SD = 0.08
# A focal length from a data sheet: rounded, and different a little between specimens.
_FOCAL_SD = 0.015
# Bends that are tried while points are sorted into right and wrong ones.
_EDGE_TRIALS = (0.0, 0.06, 0.15, 0.3)
_LENS_TRIALS = (UNKNOWN_BEND, 0.0, 0.22, 0.33)
_LOWEST_BEND, _HIGHEST_BEND = -0.1, 0.6
# Stands for a place that a trial camera does not image, in standard deviations.
_UNSEEN = 1e3

FittedCamera = Union[HomographyCamera, PinholeCamera]


@dataclass(frozen=True)
class Intrinsics:
    """A known lens.

    Attributes:
        matrix: (3, 3) pixels.
        distortion: (5,) of OpenCV's model; None where it is not known: then the matrix is that of a rectilinear lens of
            the same field of view, and the distortion is fitted.
    """

    matrix: FloatArray
    distortion: FloatArray | None = None

    def bent(self, bend: float, image_size: tuple[int, int]) -> Intrinsics:
        """Return a lens of the same field of view with the given bend (see ``distortion``)."""
        centre = self.matrix[:2, 2]
        edge = max(centre[0], image_size[0] - centre[0]) / self.matrix[0, 0]
        imaged = edge
        for _ in range(30):
            imaged -= (imaged * (1 + bend * imaged**2) - edge) / max(1 + 3 * bend * imaged**2, 1e-3)
        scale = edge / imaged
        matrix = self.matrix * np.array([[scale, 1, 1], [1, scale, 1], [1, 1, 1.0]])
        corner = np.maximum(centre, np.array(image_size) - centre) / np.array([matrix[0, 0], matrix[1, 1]])
        return Intrinsics(matrix, opencv_distortion(bend, float(np.hypot(*corner))))


@dataclass(frozen=True)
class FittedPoints:
    """A result: the camera with its alternatives, and (N,) residuals in pixels."""

    camera: FittedCamera
    residual_px: FloatArray


def straight_trials(
    points_px: FloatArray, image_size: tuple[int, int], lens: Intrinsics | None
) -> list[tuple[float, FloatArray]]:
    """Return bends worth a trial, most plausible first, and where the (N, 2) pixels would be without distortion."""
    if lens is None:
        centre, half = np.array(image_size) / 2, image_size[0] / 2
        bends = _EDGE_TRIALS if len(points_px) > 4 else _EDGE_TRIALS[:1]
        return [(bend, centre + half * unbend((points_px - centre) / half, bend)) for bend in bends]
    if lens.distortion is not None:
        return [(0.0, _straight(points_px, lens))]
    return [(bend, _straight(points_px, lens.bent(bend, image_size))) for bend in _LENS_TRIALS]


def fit_homography(
    to_image: FloatArray, bend: float, points_px: FloatArray, points_m: FloatArray, size: tuple[int, int], sd_px: float
) -> FittedPoints:
    """Refine a homography (metres to undistorted pixels) and the bend of the lens.

    Args:
        to_image: (3, 3) first guess.
        bend: first guess, in halves of the picture's width.
        points_px, points_m: (N, 2) pixels as clicked, and metres.
        size: width, height, pixels.
        sd_px: standard deviation of a click.
    """
    middle, spread = points_m.mean(axis=0), float(points_m.std())
    from_unit = np.array([[spread, 0, middle[0]], [0, spread, middle[1]], [0, 0, 1.0]])
    centre, half = np.array(size) / 2, size[0] / 2
    to_pixels = np.array([[half, 0, centre[0]], [0, half, centre[1]], [0, 0, 1.0]])
    unit = np.linalg.inv(to_pixels) @ to_image @ from_unit
    unit = unit / unit[2, 2]
    anchor = points_px.mean(axis=0)

    def camera(theta: FloatArray) -> HomographyCamera:
        matrix = np.append(theta[:8], 1.0).reshape(3, 3)
        to_world = from_unit @ np.linalg.inv(matrix) @ np.linalg.inv(to_pixels)
        return HomographyCamera(*size, to_world / (to_world[2] @ np.append(anchor, 1.0)), bend=float(theta[8]))

    start = np.append(unit.ravel()[:8], bend)
    return _fit(camera, start, lambda theta: theta[8:9] / EDGE_BEND_SD, points_px, points_m, sd_px)


def fit_pose(
    lens: Intrinsics, bend: float, straight_px: FloatArray, points_px: FloatArray, points_m: FloatArray,
    size: tuple[int, int], sd_px: float,
) -> FittedPoints | None:  # fmt: skip
    """Find the pose of a camera whose lens is known, its distortion perhaps not; None where no pose fits."""
    start_lens = lens if lens.distortion is not None else lens.bent(bend, size)
    ground = np.column_stack([points_m, np.zeros(len(points_m))])
    found, turn, shift = cv2.solvePnP(ground, straight_px, start_lens.matrix, np.zeros(5), flags=cv2.SOLVEPNP_IPPE)
    if not found:
        return None
    turn, shift = cv2.solvePnPRefineLM(ground, straight_px, start_lens.matrix, np.zeros(5), turn, shift)

    def camera(theta: FloatArray) -> PinholeCamera:
        bent = lens if lens.distortion is not None else lens.bent(float(theta[7]), size)
        assert bent.distortion is not None
        scale = np.exp(theta[6])
        matrix = bent.matrix * np.array([[scale, 1, 1], [1, scale, 1], [1, 1, 1.0]])
        rotation, _ = cv2.Rodrigues(theta[:3])
        return PinholeCamera(*size, matrix, bent.distortion, np.asarray(rotation, np.float64), theta[3:6].copy())

    def beliefs(theta: FloatArray) -> FloatArray:
        lens_belief = [] if lens.distortion is not None else [(theta[7] - UNKNOWN_BEND) / UNKNOWN_BEND_SD]
        return np.array([theta[6] / _FOCAL_SD, *lens_belief])

    pose = np.concatenate([np.ravel(turn), np.ravel(shift), [0.0]])
    start = pose if lens.distortion is not None else np.append(pose, bend)
    return _fit(camera, start, beliefs, points_px, points_m, sd_px)


def _fit(
    camera: Callable[[FloatArray], FittedCamera],
    start: FloatArray,
    beliefs: Callable[[FloatArray], FloatArray],
    points_px: FloatArray,
    points_m: FloatArray,
    sd_px: float,
) -> FittedPoints:
    """Minimise the clicks' errors and the beliefs; the alternatives follow from the curvature there.

    Clicks are taken to be as wrong as stated, or worse where what is left of them says so.
    """

    def residuals(theta: FloatArray) -> FloatArray:
        missed = (camera(theta).ground_to_image(points_m) - points_px).ravel() / sd_px
        return np.concatenate([np.nan_to_num(missed, nan=_UNSEEN), beliefs(theta)])

    low, high = np.full(len(start), -np.inf), np.full(len(start), np.inf)
    if len(start) in (8, 9):  # The last parameter is the bend.
        low[-1], high[-1] = _LOWEST_BEND, _HIGHEST_BEND
    scale = np.maximum(np.abs(start), 0.05)
    solution = least_squares(residuals, start, bounds=(low, high), x_scale=scale, xtol=1e-10, ftol=1e-12, gtol=1e-10)
    theta = solution.x
    best = camera(theta)
    residual_px = np.hypot(*(best.ground_to_image(points_m) - points_px).T)
    information = solution.jac.T @ solution.jac
    freedom = points_px.size + len(beliefs(theta)) - len(theta)
    excess = max(1.0, float((solution.fun**2).sum()) / freedom) if freedom > 0 else 1.0
    unit = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information * unit[:, None] * unit[None])
    steps = (unit[:, None] * vectors / np.sqrt(np.maximum(values, 1e-12))).T * np.sqrt(excess)
    others = tuple(camera(theta + step) for step in steps)
    if isinstance(best, HomographyCamera):
        homographies = tuple(other for other in others if isinstance(other, HomographyCamera))
        return FittedPoints(replace(best, alternatives=homographies), residual_px)
    return FittedPoints(
        replace(best, alternatives=tuple(o for o in others if isinstance(o, PinholeCamera))), residual_px
    )


def _straight(points_px: FloatArray, lens: Intrinsics) -> FloatArray:
    assert lens.distortion is not None
    (fx, _, cx), (_, fy, cy), _ = lens.matrix.tolist()
    centre, focal = np.array([cx, cy]), np.array([fx, fy])
    return centre + focal * undistort((points_px - centre) / focal, lens.distortion)

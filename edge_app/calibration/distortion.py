"""Lens distortion in normalised image coordinates: OpenCV's model, its inverse, and the one number of a usual lens.

Most lenses of surveillance cameras lie between a rectilinear lens, which images an angle ``a`` from its axis at
``tan a`` focal lengths from the centre, and an equidistant one, which images it at ``a``. Up to the third order this is
``u = d (1 + bend d²)``, for distances from the centre in focal lengths, ``d`` as imaged and ``u`` without distortion;
``bend`` is 0 for the rectilinear and 1/3 for the equidistant lens, whatever the field of view.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edge_app.records import FloatArray

# What a lens that nobody described is taken to be: between rectilinear (0) and equidistant (1/3).
UNKNOWN_BEND, UNKNOWN_BEND_SD = 0.12, 0.12
_TANGENTIAL_ROUNDS = 8
_NEWTON_ROUNDS = 30
_NEWTON_STEP = 1e-11
# A polynomial that stops to grow is inverted up to here, a part of the radius at which it does.
_USABLE = 0.999


def opencv_distortion(bend: float, max_radius: float) -> FloatArray:
    """Return OpenCV's (5,) k1, k2, p1, p2, k3 of ``u = d (1 + bend d²)``, fitted for radii ``d`` up to ``max_radius``.

    This is also the form of Tsai's model, with ``bend`` in place of kappa times the squared focal length.
    """
    if bend == 0:
        return np.zeros(5)
    distorted = np.linspace(0.01, max_radius, 200)
    undistorted = distorted * (1 + bend * distorted**2)
    powers = np.column_stack([undistorted**3, undistorted**5, undistorted**7])
    k1, k2, k3 = np.linalg.lstsq(powers, distorted - undistorted, rcond=None)[0].tolist()
    return np.array([k1, k2, 0.0, 0.0, k3])


def unbend(points: FloatArray, bend: float) -> FloatArray:
    """Return (..., 2) points ``u = d (1 + bend d²)`` for points ``d`` about the centre."""
    unbent: FloatArray = points * (1 + bend * (points**2).sum(axis=-1, keepdims=True))
    return unbent


def distorted_radius(radius: FloatArray, distortion: FloatArray) -> FloatArray:
    """Return where OpenCV's model images points at the given distances from the centre; radial terms only."""
    k1, k2, _, _, k3 = distortion.tolist()
    squared = radius**2
    return radius * (1 + squared * (k1 + squared * (k2 + squared * k3)))


def undistort(points: FloatArray, distortion: FloatArray) -> FloatArray:
    """Invert OpenCV's model for (N, 2) normalised points; NaN where no ray of the model is imaged."""
    if not distortion.any() or len(points) == 0:
        return points
    straight = _undistort_radial(points, distortion)
    if distortion[2] == 0 and distortion[3] == 0:
        return straight
    # Tangential terms are small next to the radial ones: their effect is taken off and found anew, in turn.
    for _ in range(_TANGENTIAL_ROUNDS):
        straight = _undistort_radial(points - _tangential(straight, distortion), distortion)
    return straight


def _tangential(points: FloatArray, distortion: FloatArray) -> FloatArray:
    p1, p2 = distortion[2], distortion[3]
    x, y = points[:, 0], points[:, 1]
    squared = x**2 + y**2
    return np.column_stack([2 * p1 * x * y + p2 * (squared + 2 * x**2), p1 * (squared + 2 * y**2) + 2 * p2 * x * y])


def _undistort_radial(points: FloatArray, distortion: FloatArray) -> FloatArray:
    """Solve for the radius by Newton's method; from the imaged radius it converges from one side."""
    imaged = np.hypot(points[:, 0], points[:, 1])
    limit = largest_radius(tuple(distortion.tolist()))
    farthest = float(distorted_radius(np.array(limit), distortion)) if np.isfinite(limit) else np.inf
    k1, k2, _, _, k3 = distortion.tolist()
    radius = np.minimum(imaged, limit)
    for _ in range(_NEWTON_ROUNDS):
        squared = radius**2
        value = radius * (1 + squared * (k1 + squared * (k2 + squared * k3)))
        slope = 1 + squared * (3 * k1 + squared * (5 * k2 + squared * 7 * k3))
        step = (imaged - value) / np.maximum(slope, 1e-6)
        radius = np.minimum(np.maximum(radius + step, 0.0), limit)
        if not (np.abs(step) > _NEWTON_STEP).any():
            break
    scale = np.where(imaged > 0, radius / np.maximum(imaged, 1e-300), 1.0)
    scale[~(imaged <= farthest)] = np.nan
    return points * scale[:, None]


@lru_cache(maxsize=64)
def largest_radius(distortion: tuple[float, ...]) -> float:
    """Return the distance from the centre, without distortion, up to which the model's radius grows; may be infinite.

    Farther rays would be imaged again nearer to the centre, which no lens does.
    """
    k1, k2, _, _, k3 = distortion
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
    real = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real
    return _USABLE * float(np.sqrt(real.min())) if len(real) else float("inf")

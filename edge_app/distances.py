"""Distances between all pairs of people on the ground, vectorised, with their uncertainty."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from edge_app.records import FloatArray, GroundPoints, IntArray, Pairs

# Nodes of a quadrature, and how far it reaches, standard deviations.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_REACH = 4.5
# Two people never stand in the same point; keeps the direction of a pair defined.
_MIN_DISTANCE_M = 1e-6
_MIN_VARIANCE_M2 = 1e-12


def measure_pairs(ids: IntArray, ground: GroundPoints, threshold_m: float) -> Pairs:
    """Measure the distance of every pair of people that have a valid position.

    The standard deviation is that of the difference of two positions along the line between them (first order): the
    feet are independent of one another, the error of the calibration moves both. The probability of a violation is that
    of the difference, normal in both directions on the ground, being shorter than the threshold.

    Args:
        ids: (N,) track ids in the order of ``ground``.
        ground: N positions.
        threshold_m: distance under which a pair violates, metres.
    """
    usable = np.flatnonzero(ground.valid)
    if len(usable) < 2:
        return Pairs.empty()
    usable = usable[np.argsort(ids[usable])]
    first, second = _each_pair(len(usable))
    a, b = usable[first], usable[second]
    difference = ground.xy_m[b] - ground.xy_m[a]
    distance_m = np.hypot(difference[:, 0], difference[:, 1])
    xx, xy, yy = _covariance_of_difference(ground, a, b)
    along = difference / np.maximum(distance_m, _MIN_DISTANCE_M)[:, None]
    x, y = along[:, 0], along[:, 1]
    sigma_m = np.sqrt(np.maximum(x * x * xx + 2 * x * y * xy + y * y * yy, 0.0))
    p_violation = (distance_m < threshold_m).astype(np.float64)
    reach_m = _REACH * np.sqrt(xx + yy)
    unsure = np.flatnonzero((sigma_m > 0) & (np.abs(distance_m - threshold_m) < reach_m))
    if len(unsure):
        p_violation[unsure] = _p_shorter(difference[unsure], (xx[unsure], xy[unsure], yy[unsure]), threshold_m)
    return Pairs(ids[a], ids[b], distance_m, sigma_m, p_violation)


@lru_cache(maxsize=256)
def _each_pair(count: int) -> tuple[IntArray, IntArray]:
    first, second = np.triu_indices(count, k=1)
    return first, second


def _covariance_of_difference(
    ground: GroundPoints, a: IntArray, b: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the (M,) variances of x and y, and between them their covariance, of pairs of places; m²."""
    xx = ground.cov_m2[a, 0, 0] + ground.cov_m2[b, 0, 0]
    xy = ground.cov_m2[a, 0, 1] + ground.cov_m2[b, 0, 1]
    yy = ground.cov_m2[a, 1, 1] + ground.cov_m2[b, 1, 1]
    if ground.shift_m.shape[1]:
        # Both are moved by the same error of the calibration: only the difference of their shifts counts.
        shift_x = np.ascontiguousarray(ground.shift_m[:, :, 0].T)
        shift_y = np.ascontiguousarray(ground.shift_m[:, :, 1].T)
        x, y = shift_x[:, b] - shift_x[:, a], shift_y[:, b] - shift_y[:, a]
        xx += np.einsum("km,km->m", x, x)
        xy += np.einsum("km,km->m", x, y)
        yy += np.einsum("km,km->m", y, y)
    return xx, xy, yy


def _p_shorter(
    difference: FloatArray, covariance: tuple[FloatArray, FloatArray, FloatArray], threshold_m: float
) -> FloatArray:
    """Return the (M,) probability that normal differences on the ground are shorter than the threshold.

    Along the axis of the larger variance the integral is closed, across it, it is a sum (Gauss-Legendre).

    Args:
        difference: (M, 2) means, metres.
        covariance: (M,) variance of x, covariance, and variance of y, m².
        threshold_m: radius of the circle, metres.
    """
    # The principal axes of a 2x2 matrix in closed form; the larger variance lies along ``angle``.
    xx, xy, yy = covariance
    middle, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    cosine, sine = np.cos(angle), np.sin(angle)
    major = np.abs(cosine * difference[:, 0] + sine * difference[:, 1])
    minor = cosine * difference[:, 1] - sine * difference[:, 0]
    sd_major, sd_minor = np.sqrt(middle + radius), np.sqrt(np.maximum(middle - radius, _MIN_VARIANCE_M2))
    low = np.maximum(minor - _REACH * sd_minor, -threshold_m)
    high = np.maximum(np.minimum(minor + _REACH * sd_minor, threshold_m), low)
    half = (high - low) / 2
    # One row for each node: operations run along the pairs.
    place = low + half * (1 + _NODES[:, None])
    score = (place - minor) / sd_minor
    density = np.exp(-0.5 * score * score)
    limit = np.sqrt(np.maximum(threshold_m * threshold_m - place * place, 0.0))
    inside = ndtr((limit - major) / sd_major) - ndtr((-limit - major) / sd_major)
    # Not a matrix product: a threaded BLAS costs more than it saves on arrays this small.
    total = np.einsum("n,nm->m", _WEIGHTS, density * inside)
    return np.clip(total * half / (np.sqrt(2 * np.pi) * sd_minor), 0.0, 1.0)

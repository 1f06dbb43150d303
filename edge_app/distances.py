"""Distances between all pairs of people on the ground, vectorised, with their uncertainty."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from edge_app.records import FloatArray, GroundPoints, IntArray, Pairs

# Nodes of a quadrature, and how far it reaches, standard deviations.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_REACH = 5.0
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
    first, second = np.triu_indices(len(usable), k=1)
    a, b = usable[first], usable[second]
    difference = ground.xy_m[b] - ground.xy_m[a]
    distance_m = np.hypot(difference[:, 0], difference[:, 1])
    covariance = ground.cov_m2[a] + ground.cov_m2[b]
    if ground.shift_m.shape[1]:
        together = ground.shift_m[b] - ground.shift_m[a]
        covariance = covariance + together.transpose(0, 2, 1) @ together
    along = difference / np.maximum(distance_m, _MIN_DISTANCE_M)[:, None]
    carried = covariance[:, :, 0] * along[:, :1] + covariance[:, :, 1] * along[:, 1:]
    sigma_m = np.sqrt(np.maximum((along * carried).sum(axis=1), 0.0))
    p_violation = (distance_m < threshold_m).astype(np.float64)
    reach_m = _REACH * np.sqrt(covariance[:, 0, 0] + covariance[:, 1, 1])
    unsure = np.flatnonzero((sigma_m > 0) & (np.abs(distance_m - threshold_m) < reach_m))
    if len(unsure):
        p_violation[unsure] = _p_shorter(difference[unsure], covariance[unsure], threshold_m)
    return Pairs(ids[a], ids[b], distance_m, sigma_m, p_violation)


def _p_shorter(difference: FloatArray, covariance: FloatArray, threshold_m: float) -> FloatArray:
    """Return the (M,) probability that normal differences on the ground are shorter than the threshold.

    Along the axis of the larger variance the integral is closed, across it, it is a sum (Gauss-Legendre).

    Args:
        difference: (M, 2) means, metres.
        covariance: (M, 2, 2) m².
        threshold_m: radius of the circle, metres.
    """
    # The principal axes of a 2x2 matrix in closed form; the larger variance lies along ``angle``.
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    middle, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    cosine, sine = np.cos(angle), np.sin(angle)
    major = np.abs(cosine * difference[:, 0] + sine * difference[:, 1])
    minor = cosine * difference[:, 1] - sine * difference[:, 0]
    sd_major, sd_minor = np.sqrt(middle + radius), np.sqrt(np.maximum(middle - radius, _MIN_VARIANCE_M2))
    low = np.maximum(minor - _REACH * sd_minor, -threshold_m)
    high = np.maximum(np.minimum(minor + _REACH * sd_minor, threshold_m), low)
    half = (high - low)[:, None] / 2
    place = low[:, None] + half * (1 + _NODES)
    score = (place - minor[:, None]) / sd_minor[:, None]
    density = np.exp(-0.5 * score**2) / (np.sqrt(2 * np.pi) * sd_minor[:, None])
    limit = np.sqrt(np.maximum(threshold_m**2 - place**2, 0.0))
    inside = ndtr((limit - major[:, None]) / sd_major[:, None]) - ndtr((-limit - major[:, None]) / sd_major[:, None])
    return np.clip((_WEIGHTS * half * density * inside).sum(axis=1), 0.0, 1.0)

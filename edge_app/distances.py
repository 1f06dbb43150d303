"""Distances between all pairs of people on the ground, vectorised, with their uncertainty."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from edge_app.records import GroundPoints, IntArray, Pairs

# Two people never stand in the same point; keeps the direction of a pair defined.
_MIN_DISTANCE_M = 1e-6


def measure_pairs(ids: IntArray, ground: GroundPoints, threshold_m: float) -> Pairs:
    """Measure the distance of every pair of people that have a valid position.

    The standard deviation is that of the difference of two independent positions along the line between them (first
    order); the probability of a violation is that of a normal distance being under the threshold.

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
    direction = difference / np.maximum(distance_m, _MIN_DISTANCE_M)[:, None]
    covariance = ground.cov_m2[a] + ground.cov_m2[b]
    variance = np.einsum("mi,mij,mj->m", direction, covariance, direction)
    sigma_m = np.sqrt(np.maximum(variance, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p_violation = ndtr((threshold_m - distance_m) / sigma_m)
    exact = sigma_m == 0
    p_violation[exact] = (distance_m[exact] < threshold_m).astype(np.float64)
    return Pairs(ids[a], ids[b], distance_m, sigma_m, p_violation)

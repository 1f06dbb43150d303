"""Which detection continues which track: globally best assignment on the likelihood of the motion."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge_app.records import FloatArray, IntArray
from edge_app.tracking.motion import Measurements, MotionState

# Squared Mahalanobis distance beyond which a detection is somebody else. Normal errors would stay under 14 in 99.7 % of
# the cases (chi-square, three degrees of freedom), but one box in ten is loose: in six simulated crowds with such boxes
# (`simulate-crowds`) IDF1 rose from 0.53 to 0.61 with 25, other settings having changed a little in between.
GATE = 25.0


def association_cost(motion: MotionState, measured: Measurements) -> FloatArray:
    """Return the (tracks, detections) cost: twice the negative log-likelihood, ``inf`` outside the gate.

    Uncertain tracks pay for their uncertainty, so that a lost track does not take the detection of a sure one.
    Variances are taken relative to the person's height, which makes costs of near and far people comparable.
    """
    position, noise = measured.middles()
    variance = motion.var_pp[:, None, :] + noise[None]
    squared = (position[None] - motion.position[:, None, :]) ** 2 / variance
    distance = squared.sum(axis=2)
    height = np.maximum(motion.position[:, None, 2:3], 1.0)
    cost = distance + np.log(variance / height**2).sum(axis=2)
    return np.where(distance <= GATE, cost, np.inf)


def assign(cost: FloatArray) -> tuple[IntArray, IntArray]:
    """Solve the assignment; pairs of infinite cost are never made and leaving a track alone is always allowed.

    Returns:
        rows (tracks) and columns (detections) of the pairs.
    """
    if cost.size == 0 or not np.isfinite(cost).any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    finite = cost[np.isfinite(cost)]
    # Larger than any sum of real costs can win back: as many pairs as the gate allows are made.
    forbidden = (np.ptp(finite) + 1.0) * (min(cost.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost - finite.min(), forbidden))
    possible = np.isfinite(cost[rows, columns])
    return rows[possible], columns[possible]

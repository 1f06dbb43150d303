"""The evidence for a trial camera: implied heights of people and their speeds on the ground, with their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.calibration.self_assumptions import Assumptions
from edge_app.calibration.self_geometry import Lens, View, ground_positions, implied_heights
from edge_app.calibration.self_samples import Pieces
from edge_app.records import BoolArray, FloatArray, IntArray

# A speed is measured over at least this many half seconds, and only where its noise is below this.
_MIN_SPEED_BINS = 4
_MAX_SPEED_NOISE_M_S = 0.25
# Slower than this people stand, turn or browse: not a walk.
_MIN_SPEED_M_S = 0.5


@dataclass(frozen=True)
class Evidence:
    """Deviations from what is expected, grouped by person.

    Attributes:
        value: (N,) relative deviation (of a logarithm).
        variance: (N,) its variance from noise that is the observation's own.
        person: (N,) int64, track that it belongs to.
    """

    value: FloatArray
    variance: FloatArray
    person: IntArray

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, selection: BoolArray) -> Evidence:
        return Evidence(self.value[selection], self.variance[selection], self.person[selection])


def height_evidence(view: View, lens: Lens, pieces: Pieces, assumptions: Assumptions) -> Evidence:
    """Compare implied body heights with the assumed mean, one value for each half second that is present.

    The variance holds the noise of both edges of the box, through the derivatives at the trial camera. As these change
    with the trial, minimising the squares over the variance is the effective-variance form of total least squares
    (Deming; Orear, Am. J. Phys. 50, 1982): noise of the feet doesn't flatten the relation of height and place.
    """
    present = pieces.present
    foot = lens.normalise(pieces.foot[present], view.log_focal)
    head_px = np.stack([pieces.foot[present][:, 0], pieces.head_row[present]], axis=1)
    head_row = lens.normalise(head_px, view.log_focal)[:, 1]
    heights = implied_heights(view, foot, head_row)
    edge = assumptions.edge_variance(pieces.height_px[present]) / np.exp(2 * view.log_focal)
    variance = (heights.by_foot**2 + heights.by_head**2) * edge + assumptions.posture_sd**2
    person = np.broadcast_to(pieces.track[:, None], present.shape)[present]
    return Evidence(heights.log_m - np.log(assumptions.person_height_m), variance, person)


def speed_evidence(
    view: View, lens: Lens, pieces: Pieces, assumptions: Assumptions, noise_factor: float
) -> tuple[Evidence, BoolArray]:
    """Compare walking speeds with the assumed mean, one value for each piece.

    Velocity is the slope of a straight line through the positions. Its noise makes speeds too high on average where it
    lies across the walk; the first-order term of that is taken off.

    Args:
        view, lens, pieces, assumptions: as above.
        noise_factor: variance of the boxes' edges over the assumed one.

    Returns:
        (S,) evidence, and which of it is a walk that is measured well enough.
    """
    weight = pieces.present.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1.0)
    time_s = pieces.time_s - ((pieces.time_s * weight).sum(axis=1) / count)[:, None]
    lever = time_s * weight / np.maximum((time_s**2 * weight).sum(axis=1), 1e-9)[:, None]
    ground = ground_positions(view, lens.normalise(pieces.foot, view.log_focal))
    velocity = np.einsum("sb,sbi->si", lever, ground.xy_m)
    edge = noise_factor * assumptions.edge_variance(pieces.height_px) / np.exp(2 * view.log_focal)
    covariance = np.einsum("sb,sb,sbij,sbkj->sik", lever**2, edge, ground.jacobian, ground.jacobian)
    speed = np.maximum(np.hypot(velocity[:, 0], velocity[:, 1]), 1e-3)
    along = velocity / speed[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    var_along = np.einsum("si,sij,sj->s", along, covariance, along)
    var_across = np.einsum("si,sij,sj->s", across, covariance, across)
    value = np.log(speed / assumptions.speed_m_s) - np.clip((var_across - var_along) / (2 * speed**2), -0.5, 0.5)
    variance = var_along / speed**2 + assumptions.log_steadiness_sd**2
    noise = np.sqrt(var_along + var_across)
    usable = (pieces.present.sum(axis=1) >= _MIN_SPEED_BINS) & (speed > _MIN_SPEED_M_S)
    usable &= noise < _MAX_SPEED_NOISE_M_S
    return Evidence(value, variance, pieces.track), usable

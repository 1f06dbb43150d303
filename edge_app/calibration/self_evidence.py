"""The evidence for a trial camera: implied heights of people and their speeds on the ground, with their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.calibration.self_assumptions import Assumptions
from edge_app.calibration.self_geometry import Lens, View, ground_positions, head_rows, log_heights
from edge_app.calibration.self_samples import Pieces
from edge_app.records import BoolArray, FloatArray, IntArray

# Step of a derivative, pixels.
_STEP_PX = 0.5
# A speed is measured over at least this many half seconds, and only where its noise is below this.
_MIN_SPEED_BINS = 4
_MAX_SPEED_NOISE_M_S = 0.25
# Slower than this people stand, turn or browse: not a walk.
_MIN_SPEED_M_S = 0.5
# A walk whose places are farther from a straight line at a steady speed than this, metres and in deviations of their
# noise, holds a turn or a stop: its speed says little.
_LARGEST_BOW_M = 0.08
_LARGEST_BOW_SD = 1.5


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


def height_evidence(
    view: View, lens: Lens, pieces: Pieces, assumptions: Assumptions, padding_px: float = 0.0
) -> Evidence:
    """Compare implied body heights with the assumed mean, one value for each half second that is present.

    The variance holds the noise of both edges of the box, through the derivatives at the trial camera. As these change
    with the trial, minimising the squares over the variance is the effective-variance form of total least squares
    (Deming; Orear, Am. J. Phys. 50, 1982): noise of the feet doesn't flatten the relation of height and place.

    Args:
        view, lens, pieces, assumptions: the trial, and what it is judged by.
        padding_px: by how much every box is taken to reach over the person, above and below alike.
    """
    present = pieces.present
    foot_px = pieces.foot[present] - np.array([0.0, padding_px])
    head_px = pieces.head_row[present] + padding_px
    log_m = _log_heights(view, lens, foot_px, head_px)
    by_foot = (_log_heights(view, lens, foot_px + np.array([0.0, _STEP_PX]), head_px) - log_m) / _STEP_PX
    by_head = (_log_heights(view, lens, foot_px, head_px + _STEP_PX) - log_m) / _STEP_PX
    edge = assumptions.edge_variance(pieces.height_px[present])
    variance = (by_foot**2 + by_head**2) * edge + assumptions.posture_sd**2
    person = np.broadcast_to(pieces.track[:, None], present.shape)[present]
    return Evidence(log_m - np.log(assumptions.person_height_m), variance, person)


def _log_heights(view: View, lens: Lens, foot_px: FloatArray, head_px: FloatArray) -> FloatArray:
    foot = lens.normalise(foot_px, view)
    return log_heights(view, foot, head_rows(view, lens, foot, head_px))


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
    ground = ground_positions(view, lens.normalise(pieces.foot, view))
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
    usable &= _is_straight(ground.xy_m, time_s, velocity, pieces.present, lever, covariance)
    return Evidence(value, variance, pieces.track), usable


def _is_straight(
    xy_m: FloatArray,
    time_s: FloatArray,
    velocity: FloatArray,
    present: BoolArray,
    lever: FloatArray,
    covariance: FloatArray,
) -> BoolArray:
    """Tell which pieces keep to a straight line at a steady speed, as far as the noise lets one see.

    Args:
        xy_m: (S, B, 2) places.
        time_s: (S, B) seconds from the middle of the piece.
        velocity: (S, 2) of the line.
        present: (S, B) which places count.
        lever: (S, B) weights of places in the velocity.
        covariance: (S, 2, 2) of the velocity.
    """
    weight = present.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 3.0)
    middle = (xy_m * weight[..., None]).sum(axis=1) / count[:, None]
    off = (xy_m - middle[:, None] - time_s[..., None] * velocity[:, None]) * weight[..., None]
    bow2 = (off**2).sum(axis=(1, 2)) / (count - 2)
    noise2 = np.trace(covariance, axis1=1, axis2=2) / np.maximum((lever**2).sum(axis=1), 1e-12)
    straight: BoolArray = bow2 < 2 * _LARGEST_BOW_M**2 + _LARGEST_BOW_SD**2 * noise2
    return straight

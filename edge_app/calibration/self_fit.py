"""The fit of self-calibration: robust nonlinear least squares with people as random effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from edge_app.calibration.self_assumptions import Assumptions, Trial
from edge_app.calibration.self_evidence import Evidence, height_evidence, speed_evidence
from edge_app.calibration.self_geometry import Lens, View
from edge_app.calibration.self_samples import Pieces
from edge_app.records import BoolArray, FloatArray

# Cauchy's tuning constant: 95 % efficiency on normal data (Holland & Welsch, Comm. Statist. A6, 1977).
_CAUCHY = 2.385
_LARGEST_STEP_SD = 4.0
_MAX_ROUNDS = 25
_CONVERGED_SD = 0.02
# Of the parameters in the order of ``Trial.of``; the focal length in widths of the picture.
_BOUNDS = (
    (np.deg2rad(-10.0), np.deg2rad(-25.0), np.log(1.0), np.log(0.1), -0.1, -0.5, -1.5),
    (np.deg2rad(89.0), np.deg2rad(25.0), np.log(60.0), np.log(12.0), 0.6, 0.5, 1.5),
)
_SCALE = np.array([0.1, 0.05, 0.2, 0.3, 0.1, 0.02, 0.1])
_START_TILTS_RAD = np.deg2rad(np.arange(0.0, 81.0, 4.0))


@dataclass(frozen=True)
class Fit:
    """The result.

    Attributes:
        theta: (7,) the most likely trial, see ``Trial.of``.
        covariance: (7, 7) of it, with what boxes that reach over people would change.
        noise_factor: variance of the boxes' edges over the assumed one, correlation in time included.
        people: number of tracks whose heights count.
        walks: number of pieces whose speed counts.
    """

    theta: FloatArray
    covariance: FloatArray
    noise_factor: float
    people: int
    walks: int


@dataclass(frozen=True)
class _Weights:
    """State of the reweighting: Cauchy weights, the estimated size of the noise, and the variances that follow.

    Variances belong to the camera of the round before: were they free to follow the trial, a camera for which every
    box is infinitely uncertain would fit best.
    """

    height: FloatArray
    height_variance: FloatArray
    speed_variance: FloatArray
    person_height: FloatArray
    speed: FloatArray
    person_speed: FloatArray
    is_walk: BoolArray
    noise_factor: float
    height_left: float = 1.0
    speed_left: float = 1.0


class _Step(NamedTuple):
    """A step, and the standard deviations of what is fitted."""

    move: FloatArray
    sd: FloatArray


def fit(pieces: Pieces, lens: Lens, assumptions: Assumptions) -> Fit:
    """Fit the camera.

    Heights and speeds are each a sum of a scene's mean, a person's own deviation (random effect, eliminated in closed
    form) and noise. Weights against outliers and the size of the noise are found by iteration (iteratively reweighted
    least squares).

    Least squares with fixed weights prefer cameras through which the boxes' noise looks small, as what noise adds to
    the squares changes with the trial. That part is known, so its gradient is taken off (a corrected score: Nakamura,
    Biometrika 77(1), 1990). The covariance is that of the last linearised problem, with what boxes that reach over
    people would change.

    Args:
        pieces: at least one piece.
        lens: size and distortion of the picture.
        assumptions: about people and the field of view.
    """
    problem = _Problem(pieces, lens, assumptions)
    start = problem.best_start()
    weights = problem.first_weights(start)
    theta = problem.solve(start, weights).x
    for _ in range(_MAX_ROUNDS):
        weights = problem.reweight(theta, weights)
        step = problem.step(theta, weights)
        theta = theta + step.move
        if np.abs(step.move / step.sd).max() < _CONVERGED_SD:
            break
    return Fit(
        theta,
        problem.covariance(theta, weights),
        weights.noise_factor,
        people=int((weights.person_height > 0.3).sum()),
        walks=int((weights.is_walk & (weights.speed > 0.3)).sum()),
    )


class _Problem:
    """One set of pieces, as residuals of a trial."""

    def __init__(self, pieces: Pieces, lens: Lens, assumptions: Assumptions) -> None:
        self._pieces = pieces
        self._lens = lens
        self._assumptions = assumptions
        self._people = int(pieces.track.max()) + 1
        self._piece_of_bin = np.broadcast_to(np.arange(len(pieces))[:, None], pieces.present.shape)[pieces.present]

    def best_start(self) -> FloatArray:
        """Search tilt and a few fields of view; height in closed form from the heights of people, roll zero."""
        spread = self._assumptions.hfov_sd_deg
        fields = self._assumptions.hfov_deg + spread * np.array([-1.25, -0.5, 0.25, 1.0, 2.0])
        if spread < 5.0:
            fields = np.array([self._assumptions.hfov_deg])
        starts = []
        for hfov_deg in fields:
            log_focal = float(np.log(self._lens.focal_of(hfov_deg)))
            trials = [self._height_start(tilt, log_focal) for tilt in _START_TILTS_RAD]
            _, theta = min(trials, key=lambda trial: trial[0])
            solution = self.solve(theta, self.first_weights(theta), loss="cauchy")
            starts.append((self._unlikelihood(solution.x), solution.x))
        return min(starts, key=lambda start: start[0])[1]

    def first_weights(self, theta: FloatArray) -> _Weights:
        """Start with every observation at full weight and the assumed noise."""
        heights = self._heights(theta, 1.0)
        speeds, is_walk = self._speeds(theta, 1.0)
        people = np.ones(self._people)
        return _Weights(
            np.ones(len(heights)),
            heights.variance,
            speeds.variance,
            people,
            np.ones(len(self._pieces)),
            people,
            is_walk,
            1.0,
        )

    def solve(self, theta: FloatArray, weights: _Weights, loss: str = "linear"):  # type: ignore[no-untyped-def]
        """Minimise for fixed weights."""
        low, high = self._bounds()
        return least_squares(
            self._residuals,
            np.clip(theta, low + 1e-6, high - 1e-6),
            args=(weights,),
            bounds=(low, high),
            loss=loss,
            f_scale=_CAUCHY,
            x_scale=_SCALE,
            max_nfev=40,
        )

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        low, high = np.array(_BOUNDS[0]), np.array(_BOUNDS[1])
        log_width = np.log(self._lens.image_width)
        low[3], high[3] = low[3] + log_width, high[3] + log_width
        return low, high

    def reweight(self, theta: FloatArray, before: _Weights) -> _Weights:
        """Estimate the size of the noise and the weights from the residuals at a solution."""
        heights = self._heights(theta, before.noise_factor)
        effect = _effects(heights, before.height, before.person_height, self._height_variance, self._people)
        own = heights.value - effect[heights.person]
        factor = self._noise_factor(own, heights.variance / before.noise_factor)
        heights = self._heights(theta, factor)
        speeds, is_walk = self._speeds(theta, factor)
        pace = _effects(speeds[is_walk], before.speed[is_walk], before.person_speed, self._speed_variance, self._people)
        own_score = own / np.sqrt(heights.variance)
        pace_score = (speeds.value - pace[speeds.person]) / np.sqrt(speeds.variance)
        return _Weights(
            _cauchy(own_score),
            heights.variance,
            speeds.variance,
            _cauchy(effect / np.sqrt(self._height_variance)),
            _cauchy(pace_score),
            _cauchy(pace / np.sqrt(self._speed_variance)),
            is_walk,
            factor,
            _left(own_score),
            _left(pace_score[is_walk]),
        )

    @property
    def _height_variance(self) -> float:
        return self._assumptions.log_person_height_sd**2

    @property
    def _speed_variance(self) -> float:
        return self._assumptions.log_speed_sd**2

    def step(self, theta: FloatArray, weights: _Weights) -> _Step:
        """Return the next Gauss-Newton step, within its trust."""
        residual, _ = self._squares(theta, weights)
        jacobian, favour = self._derivatives(theta, weights)
        information = jacobian.T @ jacobian
        sd = np.sqrt(np.diag(np.linalg.inv(information)))
        move: FloatArray = np.linalg.solve(information, 0.5 * favour - jacobian.T @ residual)
        move = move * min(1.0, _LARGEST_STEP_SD / max(float(np.abs(move / sd).max()), 1e-9))
        low, high = self._bounds()
        return _Step(np.clip(theta + move, low, high) - theta, sd)

    def covariance(self, theta: FloatArray, weights: _Weights) -> FloatArray:
        """Return the (7, 7) covariance of a solution.

        Boxes that reach over all people by some pixels are not fitted, since that is confounded with how noise of
        heights grows with distance; how the solution would move if they did by the spread of it counts as an error.
        """
        jacobian, _ = self._derivatives(theta, weights)
        padding_px = self._assumptions.padding_sd * self._lens.image_width
        more, less = (self._squares(theta, weights, sign * padding_px)[0] for sign in (1.0, -1.0))
        moved = np.linalg.lstsq(jacobian, -(more - less) / 2, rcond=None)[0]
        covariance: FloatArray = np.linalg.inv(jacobian.T @ jacobian) + np.outer(moved, moved)
        return covariance

    def _derivatives(self, theta: FloatArray, weights: _Weights) -> tuple[FloatArray, FloatArray]:
        """Return the (R, 7) derivative of the residuals and the (7,) gradient of what noise adds to their squares."""
        jacobian, favour = [], []
        for number, size in enumerate(_SCALE):
            step = np.zeros(len(theta))
            step[number] = 1e-3 * size
            (more, more_noise), (less, less_noise) = (self._squares(theta + s * step, weights) for s in (1.0, -1.0))
            jacobian.append((more - less) / (2e-3 * size))
            favour.append((more_noise - less_noise) / (2e-3 * size))
        return np.array(jacobian).T, np.array(favour)

    def _residuals(self, theta: FloatArray, weights: _Weights) -> FloatArray:
        return self._squares(theta, weights)[0]

    def _squares(self, theta: FloatArray, weights: _Weights, padding_px: float = 0.0) -> tuple[FloatArray, float]:
        """Return the residuals of a trial, and what noise adds to the sum of their squares."""
        heights = self._heights(theta, weights.noise_factor, padding_px)
        speeds, _ = self._speeds(theta, weights.noise_factor)
        walk = weights.is_walk
        noise = weights.height_left * (weights.height * heights.variance / weights.height_variance).sum()
        noise += weights.speed_left * (weights.speed * speeds.variance / weights.speed_variance)[walk].sum()
        heights = replace(heights, variance=weights.height_variance)
        speeds = replace(speeds, variance=weights.speed_variance)
        beliefs = self._assumptions.residuals(Trial.of(theta), self._lens)
        residual = np.concatenate(
            [
                _whitened(heights, weights.height, weights.person_height, self._height_variance),
                _whitened(speeds[walk], weights.speed[walk], weights.person_speed, self._speed_variance),
                beliefs,
            ]
        )
        return residual, float(noise)

    def _heights(self, theta: FloatArray, noise_factor: float, padding_px: float = 0.0) -> Evidence:
        trial = Trial.of(theta)
        found = height_evidence(trial.view, self._lens, self._pieces, self._assumptions, padding_px)
        return replace(found, value=found.value - trial.scene_height, variance=found.variance * noise_factor)

    def _speeds(self, theta: FloatArray, noise_factor: float) -> tuple[Evidence, BoolArray]:
        trial = Trial.of(theta)
        found, is_walk = speed_evidence(trial.view, self._lens, self._pieces, self._assumptions, noise_factor)
        return replace(found, value=found.value - trial.scene_speed), is_walk

    def _height_start(self, tilt: float, log_focal: float) -> tuple[float, FloatArray]:
        bend = self._assumptions.bend if self._lens.distortion is None else 0.0
        view = View(tilt, 0.0, 0.0, log_focal, bend)
        found = height_evidence(view, self._lens, self._pieces, self._assumptions)
        log_height = -float(np.median(found.value))
        theta = np.array([tilt, 0.0, log_height, log_focal, bend, 0.0, 0.0])
        return self._unlikelihood(theta), theta

    def _unlikelihood(self, theta: FloatArray) -> float:
        """Return the robust negative logarithm of the likelihood of the heights and of the beliefs about the camera.

        It holds the size of the variances, so that cameras with other noise can be compared.
        """
        found = self._heights(theta, 1.0)
        variance = found.variance + self._height_variance
        score = found.value / np.sqrt(variance)
        heights = (0.5 * _CAUCHY**2 * np.log1p((score / _CAUCHY) ** 2) + 0.5 * np.log(variance)).mean()
        beliefs = self._assumptions.residuals(Trial.of(theta), self._lens)
        # Boxes of one person are not independent: together they count as much as their people.
        return float(self._people * heights + 0.5 * (beliefs**2).sum())

    def _noise_factor(self, own: FloatArray, variance: FloatArray) -> float:
        """Return the variance factor of the heights: robust size, times the design effect of the pieces.

        The design effect (Kish, Survey Sampling, 1965) is how much more the mean of a piece varies than that of
        independent half seconds would.
        """
        score = own / np.sqrt(variance)
        size = float(np.median(np.abs(score)) / 0.6745)
        clipped = np.clip(score / size, -3.0, 3.0)
        count = np.bincount(self._piece_of_bin)
        mean = np.bincount(self._piece_of_bin, clipped) / np.maximum(count, 1)
        design = float((mean**2 * count).sum() / max((count > 0).sum(), 1))
        return max(size**2 * max(design, 1.0), 1e-2)


def _effects(
    found: Evidence, weight: FloatArray, person_weight: FloatArray, person_variance: float, people: int
) -> FloatArray:
    """Return the (people,) most likely deviations of the people: shrunken weighted means."""
    precision = weight / found.variance
    total = np.bincount(found.person, precision, people) + person_weight / person_variance
    return np.bincount(found.person, precision * found.value, people) / total


def _whitened(found: Evidence, weight: FloatArray, person_weight: FloatArray, person_variance: float) -> FloatArray:
    """Return residuals whose sum of squares is the cost with the people's deviations at their most likely values."""
    effect = _effects(found, weight, person_weight, person_variance, len(person_weight))
    own = (found.value - effect[found.person]) * np.sqrt(weight / found.variance)
    return np.concatenate([own, effect * np.sqrt(person_weight / person_variance)])


def _left(score: FloatArray) -> float:
    """Return the mean weighted square over the mean weight."""
    weight = _cauchy(score)
    return float((weight * score**2).sum() / max(weight.sum(), 1e-9)) if len(score) else 1.0


def _cauchy(score: FloatArray) -> FloatArray:
    return 1 / (1 + (score / _CAUCHY) ** 2)

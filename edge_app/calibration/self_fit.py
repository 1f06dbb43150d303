"""The fit of self-calibration: robust nonlinear least squares with people as random effects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from edge_app.calibration.self_assumptions import Assumptions
from edge_app.calibration.self_evidence import Evidence, height_evidence, speed_evidence
from edge_app.calibration.self_geometry import Lens, View
from edge_app.calibration.self_samples import Pieces
from edge_app.records import BoolArray, FloatArray

# Cauchy's tuning constant: 95 % efficiency on normal data (Holland & Welsch, Comm. Statist. A6, 1977).
_CAUCHY = 2.385
_MAX_ROUNDS = 12
_CONVERGED_SD = 0.02
_BOUNDS = (
    (np.deg2rad(-10.0), np.deg2rad(-25.0), np.log(1.0), np.log(0.1), -0.5, -1.5),
    (np.deg2rad(89.0), np.deg2rad(25.0), np.log(60.0), np.log(12.0), 0.5, 1.5),
)
_START_TILTS_RAD = np.deg2rad(np.arange(0.0, 81.0, 4.0))


@dataclass(frozen=True)
class Fit:
    """The result: parameters tilt, roll, log height, log focal, scene height, scene speed.

    Attributes:
        view: the camera.
        covariance: (6, 6) in the order above; radians, log metres, log pixels, and logarithms.
        noise_factor: variance of the boxes' edges over the assumed one, correlation in time included.
        people: number of tracks whose heights count.
        walks: number of pieces whose speed counts.
    """

    view: View
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


def fit(pieces: Pieces, lens: Lens, assumptions: Assumptions) -> Fit:
    """Fit the camera.

    Heights and speeds are each a sum of a scene's mean, a person's own deviation (random effect, eliminated in closed
    form) and noise. Weights against outliers and the size of the noise are found by iteration (iteratively reweighted
    least squares). The covariance is that of the last linearised problem.

    Args:
        pieces: at least one piece.
        lens: size and distortion of the picture.
        assumptions: about people and the field of view.
    """
    problem = _Problem(pieces, lens, assumptions)
    start = problem.best_start()
    weights = problem.first_weights(start)
    theta = start
    for _ in range(_MAX_ROUNDS):
        solution = problem.solve(theta, weights)
        covariance = np.linalg.inv(solution.jac.T @ solution.jac)
        step = np.abs(solution.x - theta) / np.sqrt(np.diag(covariance))
        theta = solution.x
        if step.max() < _CONVERGED_SD:
            break
        weights = problem.reweight(theta, weights)
    return Fit(
        View(*theta[:4].tolist()),
        covariance,
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
            log_focal = np.log(self._lens.focal_of(hfov_deg))
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
        low, high = np.array(_BOUNDS[0]), np.array(_BOUNDS[1])
        shift = np.array([0, 0, 0, np.log(self._lens.image_width), 0, 0])
        low, high = low + shift, high + shift
        return least_squares(
            self._residuals,
            np.clip(theta, low + 1e-6, high - 1e-6),
            args=(weights,),
            bounds=(low, high),
            loss=loss,
            f_scale=_CAUCHY,
            x_scale=np.array([0.1, 0.05, 0.2, 0.3, 0.02, 0.1]),
            max_nfev=40,
        )

    def reweight(self, theta: FloatArray, before: _Weights) -> _Weights:
        """Estimate the size of the noise and the weights from the residuals at a solution."""
        heights = self._heights(theta, before.noise_factor)
        effect = _effects(heights, before.height, before.person_height, self._height_variance, self._people)
        own = heights.value - effect[heights.person]
        factor = self._noise_factor(own, heights.variance / before.noise_factor)
        heights = self._heights(theta, factor)
        speeds, is_walk = self._speeds(theta, factor)
        pace = _effects(speeds[is_walk], before.speed[is_walk], before.person_speed, self._speed_variance, self._people)
        return _Weights(
            _cauchy(own / np.sqrt(heights.variance)),
            heights.variance,
            speeds.variance,
            _cauchy(effect / np.sqrt(self._height_variance)),
            _cauchy((speeds.value - pace[speeds.person]) / np.sqrt(speeds.variance)),
            _cauchy(pace / np.sqrt(self._speed_variance)),
            is_walk,
            factor,
        )

    @property
    def _height_variance(self) -> float:
        return self._assumptions.log_person_height_sd**2

    @property
    def _speed_variance(self) -> float:
        return self._assumptions.log_speed_sd**2

    def _residuals(self, theta: FloatArray, weights: _Weights) -> FloatArray:
        heights = replace(self._heights(theta, weights.noise_factor), variance=weights.height_variance)
        speeds, _ = self._speeds(theta, weights.noise_factor)
        speeds = replace(speeds, variance=weights.speed_variance)
        walk = weights.is_walk
        beliefs = self._assumptions.residuals(View(*theta[:4].tolist()), theta[4], theta[5], self._lens)
        return np.concatenate(
            [
                _whitened(heights, weights.height, weights.person_height, self._height_variance),
                _whitened(speeds[walk], weights.speed[walk], weights.person_speed, self._speed_variance),
                beliefs,
            ]
        )

    def _heights(self, theta: FloatArray, noise_factor: float) -> Evidence:
        found = height_evidence(View(*theta[:4].tolist()), self._lens, self._pieces, self._assumptions)
        return replace(found, value=found.value - theta[4], variance=found.variance * noise_factor)

    def _speeds(self, theta: FloatArray, noise_factor: float) -> tuple[Evidence, BoolArray]:
        view = View(*theta[:4].tolist())
        found, is_walk = speed_evidence(view, self._lens, self._pieces, self._assumptions, noise_factor)
        return replace(found, value=found.value - theta[5]), is_walk

    def _height_start(self, tilt: float, log_focal: float) -> tuple[float, FloatArray]:
        view = View(tilt, 0.0, 0.0, log_focal)
        found = height_evidence(view, self._lens, self._pieces, self._assumptions)
        log_height = -float(np.median(found.value))
        theta = np.array([tilt, 0.0, log_height, log_focal, 0.0, 0.0])
        return self._unlikelihood(theta), theta

    def _unlikelihood(self, theta: FloatArray) -> float:
        """Return the robust negative logarithm of the likelihood of the heights and of the beliefs about the camera.

        It holds the size of the variances, so that cameras with other noise can be compared.
        """
        view = View(*theta[:4].tolist())
        found = height_evidence(view, self._lens, self._pieces, self._assumptions)
        variance = found.variance + self._height_variance
        score = (found.value - theta[4]) / np.sqrt(variance)
        heights = (0.5 * _CAUCHY**2 * np.log1p((score / _CAUCHY) ** 2) + 0.5 * np.log(variance)).mean()
        beliefs = self._assumptions.residuals(view, theta[4], theta[5], self._lens)
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


def _cauchy(score: FloatArray) -> FloatArray:
    return 1 / (1 + (score / _CAUCHY) ** 2)

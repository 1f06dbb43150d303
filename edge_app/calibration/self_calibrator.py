"""A camera that calibrates itself from people who walk by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from edge_app.calibration.alternatives import independent_directions
from edge_app.calibration.camera import PinholeCamera
from edge_app.calibration.self_assumptions import Assumptions, Trial
from edge_app.calibration.self_fit import Fit, fit
from edge_app.calibration.self_geometry import Lens, View, camera_of
from edge_app.calibration.self_samples import SampleStore
from edge_app.records import FloatArray, Tracks

# People whose heights must count before a result is believed, and how well a distance must be known, relative.
_FEWEST_PEOPLE = 6
_SURE_SIGMA = 0.10
# Distances that the error is stated for: pairs this far apart, metres, where people were seen.
_GAP_M = 2.0
_ERROR_DRAWS = 60
_ERROR_PLACES = 40
_SEED = 0


@dataclass(frozen=True)
class SelfCalibration:
    """A result, sure or not.

    Attributes:
        camera: with its foot point at the origin and y along the viewing direction.
        hfov_deg, height_m, tilt_deg, roll_deg: of the camera.
        sigma: standard errors of these four, in the same units.
        distance_sigma: relative standard error of a distance of 2 m where people were seen, calibration alone.
        people, walks: tracks whose heights count, and stretches of walking whose speed counts.
        unsure: why the result should not be used yet; empty when it may be.
        draws: (D, 7) cameras as likely as this one (see ``Trial.of``), for intervals of what is derived from it.
    """

    camera: PinholeCamera
    hfov_deg: float
    height_m: float
    tilt_deg: float
    roll_deg: float
    sigma: dict[str, float]
    distance_sigma: float
    people: int
    walks: int
    unsure: str
    draws: FloatArray


class SelfCalibrator:
    """Collects people's boxes and fits tilt, roll, height and focal length of the camera to them."""

    def __init__(
        self,
        image_width: int,
        image_height: int,
        *,
        hfov_deg: Optional[float] = None,
        person_height_m: float = 1.70,
        person_height_sd_m: float = 0.09,
        distortion: Optional[FloatArray] = None,
    ) -> None:
        """Start.

        Args:
            image_width, image_height: of the pictures, pixels.
            hfov_deg: horizontal field of view where it is known.
            person_height_m, person_height_sd_m: mean and spread of the people here.
            distortion: (5,) of OpenCV's model where it is known; it is fitted where not.

        Raises:
            UserError: a value is outside what can be.
        """
        self._assumptions = Assumptions.make(hfov_deg, person_height_m, person_height_sd_m)
        self._lens = Lens(image_width, image_height, distortion)
        self._samples = SampleStore(image_width, image_height)

    def add(self, time_s: float, tracks: Tracks) -> None:
        """Take the tracks of one frame, in order of time."""
        self._samples.add(time_s, tracks)

    def result(self) -> Optional[SelfCalibration]:
        """Fit what was seen so far; None while nobody was seen whole."""
        pieces = self._samples.pieces()
        if len(pieces) == 0:
            return None
        found = fit(pieces, self._lens, self._assumptions)
        view = Trial.of(found.theta).view
        spread, axes = np.linalg.eigh(found.covariance[:5, :5])
        errors = independent_directions(np.sqrt(np.maximum(spread, 0.0))[:, None] * axes.T)
        others = tuple(camera_of(View(*(np.array(view) + error).tolist()), self._lens) for error in errors)
        camera = replace(camera_of(view, self._lens), alternatives=others)
        draws = np.random.default_rng(_SEED).multivariate_normal(found.theta, found.covariance, _ERROR_DRAWS)
        feet = pieces.foot[pieces.present]
        distance_sigma = self._distance_sigma(camera, draws, feet)
        return SelfCalibration(
            camera,
            self._lens.hfov_of(view),
            float(np.exp(view.log_height)),
            float(np.rad2deg(view.tilt)),
            float(np.rad2deg(view.roll)),
            self._sigma(view, found.covariance),
            distance_sigma,
            found.people,
            found.walks,
            _unsure(found, distance_sigma),
            draws,
        )

    def _sigma(self, view: View, covariance: FloatArray) -> dict[str, float]:
        sd = np.sqrt(np.diag(covariance))
        step = 1e-4
        by_focal, by_bend = (
            (self._lens.hfov_of(view._replace(**{name: getattr(view, name) + step})) - self._lens.hfov_of(view)) / step
            for name in ("log_focal", "bend")
        )
        gradient = np.array([by_focal, by_bend])
        return {
            "hfov_deg": float(np.sqrt(gradient @ covariance[3:5, 3:5] @ gradient)),
            "height_m": float(np.exp(view.log_height) * sd[2]),
            "tilt_deg": float(np.rad2deg(sd[0])),
            "roll_deg": float(np.rad2deg(sd[1])),
        }

    def _distance_sigma(self, camera: PinholeCamera, draws: FloatArray, feet: FloatArray) -> float:
        """Return the median over places of the spread of a gap, relative, between cameras as likely as this one."""
        places = feet[np.linspace(0, len(feet) - 1, min(_ERROR_PLACES, len(feet))).astype(int)]
        ground = camera.image_to_ground(places)
        ground = ground[np.isfinite(ground).all(axis=1)]
        if len(ground) == 0:
            return float("inf")
        angle = np.random.default_rng(_SEED).uniform(0, 2 * np.pi, len(ground))
        other = ground + _GAP_M * np.column_stack([np.cos(angle), np.sin(angle)])
        ends = [camera.ground_to_image(points) for points in (ground, other)]
        gaps = []
        for row in draws:
            likely = camera_of(View(*row[:5].tolist()), self._lens)
            first, second = (likely.image_to_ground(points) for points in ends)
            gaps.append(np.hypot(*(first - second).T))
        with np.errstate(invalid="ignore"):
            spread = np.abs(np.log(np.array(gaps) / _GAP_M))
        spread[~np.isfinite(spread)] = 10.0
        # Median absolute deviation to standard deviation of a normal distribution.
        return float(np.median(np.median(spread, axis=0)) / 0.6745)


def _unsure(found: Fit, distance_sigma: float) -> str:
    if found.people < _FEWEST_PEOPLE:
        return f"only {found.people} people were seen whole so far; {_FEWEST_PEOPLE} are needed"
    if distance_sigma > _SURE_SIGMA:
        return (
            f"distances are known to {100 * distance_sigma:.0f} % only; more people at other distances from the "
            "camera, or the field of view from the data sheet, would help"
        )
    return ""

"""What self-calibration takes for granted about people, their boxes and cameras; every number with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_app.calibration.distortion import UNKNOWN_BEND, UNKNOWN_BEND_SD
from edge_app.calibration.self_geometry import Lens, View
from edge_app.errors import UserError
from edge_app.records import FloatArray

# Horizontal field of view of a camera that nobody described: most surveillance lenses are between 25° and 105°.
_UNKNOWN_HFOV_DEG, _UNKNOWN_HFOV_SD_DEG = 65.0, 20.0
# A field of view from a data sheet is rounded, and differs a little between specimens and focus positions.
_GIVEN_HFOV_SD_DEG = 1.0
# Weak beliefs about how cameras are mounted; they only matter before people have told more.
_TILT_RAD, _TILT_SD_RAD = np.deg2rad(25.0), np.deg2rad(25.0)
_ROLL_SD_RAD = np.deg2rad(5.0)
_HEIGHT_M, _LOG_HEIGHT_SD = 4.5, 0.7
# Holds what is known where it is.
_PINNED = 1e-4


class Trial(NamedTuple):
    """What is fitted.

    Attributes:
        view: the camera.
        scene_height, scene_speed: logarithms: how tall, and how quick, all people together are against the assumed.
    """

    view: View
    scene_height: float
    scene_speed: float

    @staticmethod
    def of(theta: FloatArray) -> Trial:
        """Unpack (7,) numbers: the view's five, scene height, scene speed."""
        values = theta.tolist()
        return Trial(View(*values[:5]), *values[5:])


@dataclass(frozen=True)
class Assumptions:
    """Means and spreads; ``log_…_sd`` are relative.

    Attributes:
        person_height_m, person_height_sd_m: of people, metres.
        log_people_sd: how far the mean height of the people of one place is off.
        log_box_sd: how much taller or shorter than bodies a detector's boxes are on average, in proportion. Feet that
            are all too low by a part of the body are those of people on a lower ground: only heights tell them.
        padding_sd: by how much, parts of the picture's width, all boxes reach over the person above and below: what a
            detector that works on a small picture rounds away. It makes far people look taller beside near ones.
        speed_m_s, log_speed_sd: of walkers among themselves: 1.3 m/s with a spread of 0.3.
        log_scene_speed_sd: how far the mean speed of one scene is off (a hall, a shopping street, a station).
        log_steadiness_sd: how much the speed of one walker varies from one piece of the way to the next.
        hfov_deg, hfov_sd_deg: horizontal field of view, degrees.
        bend, bend_sd: of the lens, see ``distortion``; it does not count where the distortion is known.
        edge_noise_px, edge_noise_part: standard deviation of a box edge, averaged over half a second: pixels, and part
            of the box height, added in squares. Only their ratio matters, the size is estimated.
        posture_sd: relative change of one person's height while walking (gait, stooping).
    """

    person_height_m: float
    person_height_sd_m: float
    hfov_deg: float
    hfov_sd_deg: float
    bend: float = UNKNOWN_BEND
    bend_sd: float = UNKNOWN_BEND_SD
    log_people_sd: float = 0.02
    log_box_sd: float = 0.03
    padding_sd: float = 0.7e-3
    speed_m_s: float = 1.3
    log_speed_sd: float = 0.23
    log_scene_speed_sd: float = 0.15
    log_steadiness_sd: float = 0.10
    edge_noise_px: float = 1.0
    edge_noise_part: float = 0.025
    posture_sd: float = 0.01

    @staticmethod
    def make(hfov_deg: float | None, person_height_m: float, person_height_sd_m: float) -> Assumptions:
        """Check what a person states and fill in the rest.

        Raises:
            UserError: a value is outside what can be.
        """
        _within("field of view", hfov_deg, 5.0, 150.0, "degrees")
        _within("person height", person_height_m, 0.5, 2.5, "metres")
        _within("spread of the person height", person_height_sd_m, 0.01, 0.5, "metres")
        if hfov_deg is None:
            return Assumptions(person_height_m, person_height_sd_m, _UNKNOWN_HFOV_DEG, _UNKNOWN_HFOV_SD_DEG)
        return Assumptions(person_height_m, person_height_sd_m, hfov_deg, _GIVEN_HFOV_SD_DEG)

    @property
    def log_person_height_sd(self) -> float:
        """Relative spread of body heights."""
        return self.person_height_sd_m / self.person_height_m

    def edge_variance(self, height_px: FloatArray) -> FloatArray:
        """Return the variances, pixels², of the upper and lower edges of boxes with these heights."""
        return self.edge_noise_px**2 + (self.edge_noise_part * height_px) ** 2

    @property
    def log_scene_height_sd(self) -> float:
        """Relative spread, from scene to scene, of the height of people as boxes show it."""
        return float(np.hypot(self.log_people_sd, self.log_box_sd))

    def residuals(self, trial: Trial, lens: Lens) -> FloatArray:
        """Return how far a trial is from the beliefs, each in its standard deviation."""
        view = trial.view
        bend, bend_sd = (self.bend, self.bend_sd) if lens.distortion is None else (0.0, _PINNED)
        return np.array(
            [
                (view.tilt - _TILT_RAD) / _TILT_SD_RAD,
                view.roll / _ROLL_SD_RAD,
                (view.log_height - np.log(_HEIGHT_M)) / _LOG_HEIGHT_SD,
                (lens.hfov_of(view) - self.hfov_deg) / self.hfov_sd_deg,
                (view.bend - bend) / bend_sd,
                trial.scene_height / self.log_scene_height_sd,
                trial.scene_speed / self.log_scene_speed_sd,
            ]
        )


def _within(name: str, value: float | None, low: float, high: float, unit: str) -> None:
    if value is not None and not low <= value <= high:
        raise UserError(f"{name} must be {low:g} to {high:g} {unit}, not {value:g}; correct that value")

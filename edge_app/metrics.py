"""What goes on in a place, in figures: occupancy, density, dwell, passages of a line, exposure, critical density.

All of it is on frame time: every figure is an integral over seconds, so that frame rates and gaps do not matter.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

import cv2
import numpy as np
from scipy.special import stdtrit

from edge_app.config import MetricsConfig
from edge_app.records import BoolArray, FloatArray, FrameResult

# A longer step between frames is a gap, in which nothing is known.
_MAX_STEP_S = 2.0
# Dwell of a person who was not seen for longer than this is over.
_MAX_UNSEEN_S = 5.0
# A sample of density and violations is a mean over this long; the critical density is fitted to samples.
_SAMPLE_S = 10.0
_FEWEST_SAMPLES = 10
# Stays and samples that are remembered: a day.
_KEPT_STAYS = 20_000
_KEPT_SAMPLES = 8_640
# People on the line itself are on neither side until they are this far from it, metres.
_LINE_MARGIN_M = 0.2


@dataclass(frozen=True)
class CriticalDensity:
    """Violating pairs as a straight line over density, fitted by least squares to samples of ten seconds.

    The idea is from Yang et al., "A Vision-Based Social Distancing and Critical Density Detection System for COVID-19"
    (Sensors 21(13), 2021): below the density at which the line meets zero, violations are not expected.

    Attributes:
        intercept, slope: violating pairs = intercept + slope * density.
        density_per_m2: where the line meets zero; 0 if it does so below.
        cautious_per_m2: where the upper 95 % prediction bound meets one pair; 0 if it is above one everywhere.
        samples: number of samples.
    """

    intercept: float
    slope: float
    density_per_m2: float
    cautious_per_m2: float
    samples: int


class SceneMetrics:
    """Sums up the frames of one scene."""

    def __init__(self, config: MetricsConfig) -> None:
        self._region = None if config.region_m is None else np.array(config.region_m, np.float32)
        self._line = None if config.line_m is None else np.array(config.line_m, np.float64)
        self.area_m2 = None if self._region is None else float(cv2.contourArea(self._region))
        self._time_s: Optional[float] = None
        self._in_metres = False
        self._watched_s = 0.0
        self._person_s = 0.0
        self._exposed_person_s = 0.0
        self._pair_s = 0.0
        self._most = 0
        self._last_inside = 0
        self._last_violating = (0, 0)
        self._inside_since: dict[int, tuple[float, float]] = {}  # id -> entered, last seen inside
        self._dwell_s: deque[float] = deque(maxlen=_KEPT_STAYS)
        self._side: dict[int, tuple[int, float, float, float]] = {}  # id -> side of the line, last seen, x, y
        self._passages = [0, 0]
        self._sample = np.zeros(3)  # seconds, person-seconds, pair-seconds
        self._samples: deque[tuple[float, float]] = deque(maxlen=_KEPT_SAMPLES)

    def update(self, result: FrameResult) -> None:
        """Take one frame, in order of time. While distances are not known, nothing is summed up."""
        time_s = result.time_s
        seen = result.tracks.observed & result.ground.valid
        ids, places = result.tracks.id[seen], result.ground.xy_m[seen]
        inside = self._is_inside(places)
        step_s = 0.0 if self._time_s is None else time_s - self._time_s
        if self._in_metres and 0 < step_s <= _MAX_STEP_S:
            self._integrate(step_s)
        self._time_s, self._in_metres = time_s, result.in_metres
        self._most = max(self._most, int(inside.sum()))
        self._last_inside = int(inside.sum())
        self._last_violating = (len(result.violating_people), len(result.violating_pairs))
        self._follow(time_s, ids[inside].tolist())
        if self._line is not None:
            self._count_passages(time_s, ids.tolist(), places)

    def summary(self) -> dict[str, Any]:
        """Return all figures as JSON values; seconds, metres, and people for each square metre.

        People who are inside now count with the time they have spent so far.
        """
        dwell = np.array([*self._dwell_s, *(last - since for since, last in self._inside_since.values())])
        mean = self._person_s / self._watched_s if self._watched_s > 0 else 0.0
        critical = self.critical_density()
        return {
            "watched_s": round(self._watched_s, 3),
            "occupancy": {"now": self._last_inside, "mean": round(mean, 3), "most": self._most},
            "region_area_m2": None if self.area_m2 is None else round(self.area_m2, 2),
            "density_per_m2": None if not self.area_m2 else round(mean / self.area_m2, 5),
            "dwell_s": {
                "stays": len(dwell),
                "median": round(float(np.median(dwell)), 2) if len(dwell) else None,
                "p90": round(float(np.percentile(dwell, 90)), 2) if len(dwell) else None,
                "longest": round(float(dwell.max()), 2) if len(dwell) else None,
            },
            "line": None if self._line is None else {"in": self._passages[0], "out": self._passages[1]},
            "person_s": round(self._person_s, 3),
            "exposed_person_s": round(self._exposed_person_s, 3),
            "violating_pair_s": round(self._pair_s, 3),
            "critical_density": None if critical is None else vars(critical),
        }

    def critical_density(self) -> Optional[CriticalDensity]:
        """Fit violations against density; None without a region, or where the samples do not tell."""
        if not self.area_m2 or len(self._samples) < _FEWEST_SAMPLES:
            return None
        people, pairs = np.array(self._samples).T
        return fit_critical_density(people / self.area_m2, pairs)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        return {
            "time_s": self._time_s,
            "in_metres": self._in_metres,
            "sums": [self._watched_s, self._person_s, self._exposed_person_s, self._pair_s],
            "now": [self._most, self._last_inside, *self._last_violating],
            "inside": [[key, *value] for key, value in self._inside_since.items()],
            "dwell_s": list(self._dwell_s),
            "side": [[key, *value] for key, value in self._side.items()],
            "passages": self._passages,
            "sample": self._sample.tolist(),
            "samples": [list(sample) for sample in self._samples],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._time_s, self._in_metres = state["time_s"], state["in_metres"]
        self._watched_s, self._person_s, self._exposed_person_s, self._pair_s = state["sums"]
        self._most, self._last_inside, *violating = state["now"]
        self._last_violating = (violating[0], violating[1])
        self._inside_since = {row[0]: (row[1], row[2]) for row in state["inside"]}
        self._dwell_s = deque(state["dwell_s"], maxlen=_KEPT_STAYS)
        self._side = {row[0]: (row[1], row[2], row[3], row[4]) for row in state["side"]}
        self._passages = list(state["passages"])
        self._sample = np.array(state["sample"])
        self._samples = deque(((row[0], row[1]) for row in state["samples"]), maxlen=_KEPT_SAMPLES)

    def _is_inside(self, places: FloatArray) -> BoolArray:
        if self._region is None:
            return np.ones(len(places), np.bool_)
        points = [(float(x), float(y)) for x, y in places]
        return np.array([cv2.pointPolygonTest(self._region, point, False) >= 0 for point in points], np.bool_)

    def _integrate(self, step_s: float) -> None:
        """Let what the last frame showed last until this one."""
        people, pairs = self._last_violating
        self._watched_s += step_s
        self._person_s += step_s * self._last_inside
        self._exposed_person_s += step_s * people
        self._pair_s += step_s * pairs
        self._sample += step_s * np.array([1.0, self._last_inside, pairs])
        if self._sample[0] >= _SAMPLE_S - 1e-9:
            self._samples.append((self._sample[1] / self._sample[0], self._sample[2] / self._sample[0]))
            self._sample = np.zeros(3)

    def _follow(self, time_s: float, inside: list[int]) -> None:
        for person in inside:
            since_s = self._inside_since.get(person, (time_s, time_s))[0]
            self._inside_since[person] = (since_s, time_s)
        gone = [person for person, (_, last_s) in self._inside_since.items() if time_s - last_s > _MAX_UNSEEN_S]
        for person in gone:
            since_s, last_s = self._inside_since.pop(person)
            self._dwell_s.append(last_s - since_s)

    def _count_passages(self, time_s: float, ids: list[int], places: FloatArray) -> None:
        """Count whoever is on another side of the line than before, if the way led through it and not around it."""
        assert self._line is not None
        start, end = self._line
        along = (end - start) / np.hypot(*(end - start))
        left = np.array([-along[1], along[0]])
        for person, place in zip(ids, places):
            away = float((place - start) @ left)
            before = self._side.get(person)
            if abs(away) < _LINE_MARGIN_M:
                if before is not None:
                    # Still there, however long they wait on the line.
                    self._side[person] = (before[0], time_s, *before[2:])
                continue
            side = 1 if away > 0 else -1
            if before is not None and before[0] != side and self._through(np.array(before[2:]), place):
                self._passages[0 if side > 0 else 1] += 1
            self._side[person] = (side, time_s, float(place[0]), float(place[1]))
        for person in [key for key, row in self._side.items() if time_s - row[1] > _MAX_UNSEEN_S]:
            del self._side[person]

    def _through(self, before: FloatArray, now: FloatArray) -> bool:
        """Tell whether a way crosses the line between its two ends."""
        assert self._line is not None
        start, end = self._line
        way, line = now - before, end - start
        across = float(way[0] * line[1] - way[1] * line[0])
        if across == 0:
            return False
        offset = start - before
        part = float(offset[0] * way[1] - offset[1] * way[0]) / across
        return 0.0 <= part <= 1.0


def fit_critical_density(density_per_m2: FloatArray, pairs: FloatArray) -> Optional[CriticalDensity]:
    """Fit the number of violating pairs over the density of people.

    Args:
        density_per_m2: (N,) people for each square metre.
        pairs: (N,) violating pairs.

    Returns:
        None where density does not vary, or violations do not grow with it.
    """
    count = len(density_per_m2)
    centred = density_per_m2 - density_per_m2.mean()
    spread = float((centred**2).sum())
    if count < 3 or spread <= 1e-12:
        return None
    slope = float((centred * pairs).sum() / spread)
    if slope <= 0:
        return None
    intercept = float(pairs.mean() - slope * density_per_m2.mean())
    residual = pairs - intercept - slope * density_per_m2
    sd = float(np.sqrt((residual**2).sum() / (count - 2)))
    grid = np.linspace(0.0, float(density_per_m2.max()), 1001)
    # The quantile of Student's t; scipy.stats has it too, but takes a third of the start-up to import.
    reach = float(stdtrit(count - 2, 0.975)) * sd
    upper = intercept + slope * grid + reach * np.sqrt(1 + 1 / count + (grid - density_per_m2.mean()) ** 2 / spread)
    under = np.flatnonzero(upper <= 1.0)
    cautious = float(grid[under[-1]]) if len(under) else 0.0
    return CriticalDensity(intercept, slope, max(0.0, -intercept / slope), cautious, count)

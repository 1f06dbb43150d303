"""From results frame by frame to figures of each minute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from edge_app.config import MetricsConfig
from edge_app.metrics import SceneMetrics
from edge_app.occupancy import Region
from edge_app.records import FrameResult
from edge_app.storage.rows import CELL_M, MinuteAggregate

# A longer step between frames is a gap, in which nothing is known.
_MAX_STEP_S = 2.0
# Finished minutes that wait while the disk refuses: a day.
_MOST_FINISHED = 1440
# Seconds without anybody after which a running minute is stored all the same.
_IDLE_S = 10.0
# Cells of one minute: a square of 64 by 64, 32 m each way; a wrong calibration must not fill the disk.
_MOST_CELLS = 4096
_FARTHEST_CELL = 2**15 - 1


@dataclass
class _Running:
    """The minute that goes on now."""

    uid: str
    minute_utc_s: int
    in_metres: bool
    passed_before: tuple[int, int]
    watched_s: float = 0.0
    taken_s: float = 0.0
    person_s: float = 0.0
    exposed_person_s: float = 0.0
    violating_pair_s: float = 0.0
    occupancy_max: int = 0
    people: set[int] = field(default_factory=set)
    violating_people: set[int] = field(default_factory=set)
    violating_pairs: set[tuple[int, int]] = field(default_factory=set)
    heat: dict[tuple[int, int], float] = field(default_factory=dict)


class MinuteAggregator:
    """Sums up one camera's frames minute by minute of the clock; seconds are frame time.

    ``add`` is called by the pipeline and ``take`` by the writer, each in its own thread. When the clock is set back, a
    minute that was there before begins anew under another uid; readers add the parts up. When the camera's calibration
    ceases to hold, or holds again, the minute goes on as another part: one has figures in metres, the other has none.
    """

    def __init__(self, camera: str, config: MetricsConfig, new_uid: Callable[[], str]) -> None:
        self._camera = camera
        self._config = config
        self._region, self._passages = _places(config)
        self._new_uid = new_uid
        self._lock = threading.Lock()
        self._running: Optional[_Running] = None
        self._finished: list[MinuteAggregate] = []
        self._changed = False
        self._last_s: Optional[float] = None
        self._inside = 0
        self._violating = (0, 0)
        self._cells: list[tuple[int, int]] = []
        self.lost = 0

    def use(self, config: MetricsConfig) -> None:
        """Count in another region and over another line from the next frame on.

        The running minute ends here and goes on as another part: one row never mixes two places.
        """
        with self._lock:
            if config != self._config:
                self._finish()
                self._config = config
                self._region, self._passages = _places(config)

    def add(self, utc_s: float, result: FrameResult) -> None:
        """Take one frame, in order of frame time."""
        with self._lock:
            step_s = 0.0 if self._last_s is None else result.time_s - self._last_s
            self._last_s = result.time_s
            if self._running is not None and 0 < step_s <= _MAX_STEP_S:
                self._integrate(self._running, step_s)
            minute_utc_s = int(utc_s // 60) * 60
            running = self._running
            if running is None or (running.minute_utc_s, running.in_metres) != (minute_utc_s, result.in_metres):
                self._finish()
                running = self._running = _Running(self._new_uid(), minute_utc_s, result.in_metres, self._passed())
            self._look(running, result)
            idle_s = running.watched_s - running.taken_s
            self._changed = self._changed or bool(result.tracks.observed.any()) or idle_s >= _IDLE_S

    def take(self) -> tuple[list[MinuteAggregate], Optional[MinuteAggregate]]:
        """Return the minutes that finished since the last call, and the running one if there is news.

        While nobody is in sight there is news every ten seconds only, which spares the flash at night.
        """
        with self._lock:
            finished, self._finished = self._finished, []
            changed, self._changed = self._changed, False
            if self._running is None or not changed:
                return finished, None
            self._running.taken_s = self._running.watched_s
            return finished, self._aggregate(self._running)

    def finish(self) -> None:
        """The camera stops: the running minute is over."""
        with self._lock:
            self._finish()

    def _finish(self) -> None:
        if self._running is not None:
            self._finished.append(self._aggregate(self._running))
            self._running = None
        if len(self._finished) > _MOST_FINISHED:
            self.lost += 1
            del self._finished[0]

    def _integrate(self, running: _Running, step_s: float) -> None:
        """Let what the last frame showed last until this one."""
        running.watched_s += step_s
        running.person_s += step_s * self._inside
        running.exposed_person_s += step_s * self._violating[0]
        running.violating_pair_s += step_s * self._violating[1]
        for cell in self._cells:
            if cell in running.heat or len(running.heat) < _MOST_CELLS:
                running.heat[cell] = running.heat.get(cell, 0.0) + step_s

    def _look(self, running: _Running, result: FrameResult) -> None:
        """Keep what this frame shows."""
        seen = result.tracks.observed
        located = seen & result.ground.valid
        self._inside = self._region.count(result) or 0
        self._violating = (len(result.violating_people), len(result.violating_pairs))
        cells = np.clip(np.floor(result.ground.xy_m[located] / CELL_M), -_FARTHEST_CELL, _FARTHEST_CELL)
        self._cells = [(int(x), int(y)) for x, y in cells]
        running.occupancy_max = max(running.occupancy_max, self._inside)
        running.people.update(result.tracks.id[seen].tolist())
        running.violating_people.update(result.violating_people.tolist())
        running.violating_pairs.update((int(a), int(b)) for a, b in result.violating_pairs)
        if self._passages is not None:
            self._passages.update(result)

    def _passed(self) -> tuple[int, int]:
        if self._passages is None:
            return 0, 0
        line = self._passages.summary()["line"]
        return int(line["in"]), int(line["out"])

    def _aggregate(self, running: _Running) -> MinuteAggregate:
        in_metres = running.in_metres
        is_counted = self._region.is_known(in_metres=in_metres)
        passed_in, passed_out = self._passed_since(running)
        return MinuteAggregate(
            running.uid,
            self._camera,
            running.minute_utc_s,
            running.watched_s,
            people=len(running.people),
            violating_people=len(running.violating_people) if in_metres else None,
            violating_pairs=len(running.violating_pairs) if in_metres else None,
            person_s=running.person_s if is_counted else None,
            exposed_person_s=running.exposed_person_s if in_metres else None,
            violating_pair_s=running.violating_pair_s if in_metres else None,
            occupancy_max=running.occupancy_max if is_counted else None,
            density_per_m2=self._density_per_m2(running),
            passed_in=passed_in,
            passed_out=passed_out,
            heat=dict(running.heat),
        )

    def _density_per_m2(self, running: _Running) -> Optional[float]:
        if not self._region.area_m2 or not running.in_metres or running.watched_s <= 0:
            return None
        return running.person_s / running.watched_s / self._region.area_m2

    def _passed_since(self, running: _Running) -> tuple[Optional[int], Optional[int]]:
        """Return the passages of the line, in and out, in this part of a minute."""
        if self._passages is None or not running.in_metres:
            return None, None
        (now_in, now_out), (before_in, before_out) = self._passed(), running.passed_before
        return now_in - before_in, now_out - before_out


def _places(config: MetricsConfig) -> tuple[Region, Optional[SceneMetrics]]:
    line = None if config.line_m is None else SceneMetrics(MetricsConfig(line_m=config.line_m))
    return Region(config), line

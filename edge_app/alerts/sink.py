"""Where results and notices meet the rules, and where messages about them begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Optional

from edge_app.alerts.config import AlertsConfig
from edge_app.alerts.rules import SETTLE_S, Alert, LeftOpen, RuleBook
from edge_app.config import MetricsConfig
from edge_app.records import FrameResult
from edge_app.sinks import StatusNotice

_TICK_S = 1.0
# A picture older than this says nothing of now.
_STALE_S = 10.0


class _Seen(NamedTuple):
    """The newest result of a camera: monotonic seconds, clock, result."""

    at_s: float
    utc_s: float
    result: FrameResult


class AlertSink:
    """Applies the rules to results and notices, and knows what goes on now."""

    def __init__(
        self,
        config: AlertsConfig,
        metrics: Mapping[str, MetricsConfig],
        run: str,
        tell: Callable[[Iterable[Alert]], None],
        before: Optional[LeftOpen] = None,
        settle_s: float = SETTLE_S,
    ) -> None:
        """Prepare.

        Args:
            config: the rules.
            metrics: region of each camera, by its name.
            run: name of this run, first part of the id of every alert.
            tell: takes alerts; must not wait.
            before: what earlier runs left.
            settle_s: seconds after the first sign of life in which a reason of before a restart may show again.
        """
        self._rules = RuleBook(config, metrics, run, settle_s)
        self._rules.take_over(before or LeftOpen(), time.monotonic(), time.time())
        self._tell = tell
        self._lock = threading.Lock()
        self._newest: dict[str, _Seen] = {}
        self._cameras = tuple(metrics)
        self._faults: dict[str, set[str]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def accept(self, camera: str, utc_s: float, result: FrameResult) -> None:
        """Take the result of one frame."""
        with self._lock:
            now_s = time.monotonic()
            self._newest[camera] = _Seen(now_s, utc_s, result)
            self._tell(self._rules.see(camera, now_s, utc_s, result))

    def notice(self, notice: StatusNotice) -> None:
        """Take a notice."""
        with self._lock:
            faults = self._faults.setdefault(notice.camera, set())
            (faults.discard if notice.ok else faults.add)(notice.kind)
            self._tell(self._rules.hear(notice, time.monotonic(), notice.utc_s))

    def use_places(self, camera: str, metrics: MetricsConfig) -> None:
        """Judge occupancy in this region from the next frame on."""
        with self._lock:
            self._rules.use_places(camera, metrics)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return what goes on now at each camera, as JSON values; ON and OFF as Home Assistant wants them.

        Figures are None where no picture came for a while: nobody knows who is there. Without a calibration that holds
        nobody knows who is too close, or in a region.
        """
        with self._lock:
            newest, faults = dict(self._newest), {camera: set(kinds) for camera, kinds in self._faults.items()}
            regions = {camera: self._rules.region(camera) for camera in newest}
        found: dict[str, dict[str, Any]] = {}
        for camera in dict.fromkeys((*self._cameras, *newest)):
            seen = newest.get(camera)
            state = found[camera] = dict.fromkeys(("utc_s", "people", "occupancy", "violating_people", "violation"))
            if seen is not None:
                state["utc_s"] = round(seen.utc_s, 3)
            if seen is not None and time.monotonic() - seen.at_s <= _STALE_S:
                result = seen.result
                state["people"] = int(result.tracks.observed.sum())
                state["occupancy"] = regions[camera].count(result)
                if result.in_metres:
                    state["violating_people"] = len(result.violating_people)
                    state["violation"] = "ON" if len(result.violating_pairs) else "OFF"
            state["fault"] = "ON" if faults.get(camera) or faults.get("") else "OFF"
        return found

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_S):
            with self._lock:
                self._tell(self._rules.tick(time.monotonic(), time.time()))

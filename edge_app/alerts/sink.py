"""Where results and notices meet the rules, and where messages about them begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Optional

from edge_app.alerts.config import AlertsConfig
from edge_app.alerts.rules import SETTLE_S, Alert, LeftOpen, RuleBook
from edge_app.config import MetricsConfig
from edge_app.current import BLIND, is_current
from edge_app.occupancy import Region
from edge_app.records import FrameResult, ViolationEvent
from edge_app.sinks import NoticeKind, StatusNotice

_TICK_S = 1.0


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
        self._faults: dict[str, set[NoticeKind]] = {}
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

    def end(self, camera: str, events: tuple[ViolationEvent, ...]) -> None:
        """Alerts that fire are taken up by the next start; the end of an event is none of theirs."""

    def use_places(self, camera: str, metrics: MetricsConfig) -> None:
        """Judge occupancy in this region from the next frame on."""
        with self._lock:
            self._rules.use_places(camera, metrics)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return what goes on now at each camera, as JSON values; ON and OFF as Home Assistant wants them.

        Figures are None where no picture comes: nobody knows who is there. So are those in metres where no calibration
        holds.
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
            age_s = None if seen is None else time.monotonic() - seen.at_s
            if seen is not None and is_current(age_s, is_broken=bool(BLIND & faults.get(camera, set()))):
                state |= _figures(seen.result, regions[camera])
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


def _figures(result: FrameResult, region: Region) -> dict[str, Any]:
    """Return what is known of one frame."""
    figures: dict[str, Any] = {"people": int(result.tracks.observed.sum()), "occupancy": region.count(result)}
    if result.in_metres:
        figures["violating_people"] = len(result.violating_people)
        figures["violation"] = "ON" if len(result.violating_pairs) else "OFF"
    return figures

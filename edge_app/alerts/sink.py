"""Where results and notices meet the rules, and where messages about them begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_app.alerts.config import AlertsConfig
from edge_app.alerts.rules import Alert, RuleBook
from edge_app.config import MetricsConfig
from edge_app.records import FrameResult
from edge_app.sinks import StatusNotice

_TICK_S = 1.0


@dataclass(frozen=True)
class LeftOpen:
    """What an earlier run left open.

    Attributes:
        alerts: told and not ended, oldest first.
        away_s: seconds since it last watched.
    """

    alerts: tuple[Alert, ...] = ()
    away_s: float = 0.0


class AlertSink:
    """Applies the rules to results and notices, and knows what goes on now."""

    def __init__(
        self,
        config: AlertsConfig,
        metrics: Mapping[str, MetricsConfig],
        run: str,
        tell: Callable[[Iterable[Alert]], None],
        before: LeftOpen = LeftOpen(),
    ) -> None:
        """Prepare.

        Args:
            config: the rules.
            metrics: region of each camera, by its name.
            run: name of this run, first part of the id of every alert.
            tell: takes alerts; must not wait.
            before: what an earlier run left open.
        """
        self._rules = RuleBook(config, metrics, run)
        self._rules.take_over(before.alerts, before.away_s, time.monotonic(), time.time())
        self._tell = tell
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[float, FrameResult]] = {}
        self._faults: dict[str, set[str]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def accept(self, camera: str, utc_s: float, result: FrameResult) -> None:
        """Take the result of one frame."""
        with self._lock:
            self._newest[camera] = (utc_s, result)
            self._tell(self._rules.see(camera, time.monotonic(), utc_s, result))

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
        """Return what goes on now at each camera, as JSON values; ON and OFF as Home Assistant wants them."""
        with self._lock:
            newest, faults = dict(self._newest), {camera: set(kinds) for camera, kinds in self._faults.items()}
            regions = {camera: self._rules.region(camera) for camera in newest}
        found = {}
        for camera, (utc_s, result) in newest.items():
            found[camera] = {
                "utc_s": round(utc_s, 3),
                "people": int(result.tracks.observed.sum()),
                "occupancy": regions[camera].count(result),
                "violating_people": len(result.violating_people),
                "violation": "ON" if len(result.violating_pairs) else "OFF",
                "fault": "ON" if faults.get(camera) or faults.get("") else "OFF",
            }
        return found

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_S):
            with self._lock:
                self._tell(self._rules.tick(time.monotonic(), time.time()))

"""Where results and notices meet the rules, and where messages about them begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edge_app.alerts.config import AlertsConfig
from edge_app.alerts.rules import Alert, RuleBook
from edge_app.config import MetricsConfig
from edge_app.records import FrameResult
from edge_app.sinks import StatusNotice

_TICK_S = 1.0


class AlertSink:
    """Applies the rules to results and notices, and knows what goes on now."""

    def __init__(
        self, config: AlertsConfig, metrics: Mapping[str, MetricsConfig], tell: Callable[[Iterable[Alert]], None]
    ) -> None:
        """Prepare.

        Args:
            config: the rules.
            metrics: region of each camera, by its name.
            tell: takes alerts; must not wait.
        """
        self._rules = RuleBook(config, metrics)
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

"""summary.json: what was analysed, with what, and what came out."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edge_app import __version__
from edge_app.records import FrameResult, ViolationEvent

_PACKAGES = ("numpy", "scipy", "opencv-python-headless", "opencv-python", "ai-edge-litert", "tflite-runtime")


@dataclass
class Totals:
    """Counts over a whole video; people and pairs are counted apart, and never for one another."""

    frames: int = 0
    last_time_s: float = 0.0
    people_at_most: int = 0
    person_frames: int = 0
    pairs_at_most: int = 0
    events: int = 0
    exposure_s: float = 0.0
    closest_m: float = float("inf")
    people_in_events: set[int] = field(default_factory=set)

    def add(self, result: FrameResult) -> None:
        """Count one frame."""
        observed = int(result.tracks.observed.sum())
        self.frames += 1
        self.last_time_s = result.time_s
        self.people_at_most = max(self.people_at_most, observed)
        self.person_frames += observed
        self.pairs_at_most = max(self.pairs_at_most, len(result.violating_pairs))
        self.add_events(result.closed_events)

    def add_events(self, events: Iterable[ViolationEvent]) -> None:
        """Count closed events."""
        for event in events:
            self.events += 1
            self.exposure_s += event.duration_s
            self.closest_m = min(self.closest_m, event.min_distance_m)
            self.people_in_events.update((event.id_a, event.id_b))

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {**vars(self), "people_in_events": sorted(self.people_in_events), "closest_m": _finite(self.closest_m)}

    @staticmethod
    def restored(state: dict[str, Any]) -> Totals:
        """Return the counts that ``state`` was taken of."""
        closest_m = state["closest_m"]
        people = set(state["people_in_events"])
        changed = {"people_in_events": people, "closest_m": float("inf") if closest_m is None else closest_m}
        return Totals(**{**state, **changed})

    def people(self, seen: int) -> dict[str, Any]:
        """Return the section on people; ``seen`` is the number of confirmed tracks."""
        mean = self.person_frames / self.frames if self.frames else 0.0
        # What turned out later to be a thing was counted in frames before, and is not among those seen.
        at_most = min(self.people_at_most, seen)
        return {"seen": seen, "at_most_at_once": at_most, "mean_at_once": round(mean, 3)}

    def violations(self, threshold_m: float, dropped_short: int) -> dict[str, Any]:
        """Return the section on violations of a calibrated video."""
        return {
            "threshold_m": threshold_m,
            "events": self.events,
            "people_involved": len(self.people_in_events),
            "pairs_at_most_at_once": self.pairs_at_most,
            "exposure_s": round(self.exposure_s, 3),
            "closest_m": None if self.events == 0 else round(self.closest_m, 3),
            "events_dropped_too_short": dropped_short,
        }


def versions() -> dict[str, str]:
    """Return the versions of the program, Python and the packages that results depend on."""
    found = {"edge_app": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _finite(value: float) -> Any:
    return value if value < float("inf") else None

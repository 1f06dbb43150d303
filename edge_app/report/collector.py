"""Collects what the report shows, frame by frame, in bounded memory however long the video is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.calibration import CameraModel
from edge_app.records import FrameResult, ViolationEvent
from edge_app.render.birdseye import visible_ground
from edge_app.report.page import write_page

# Bins over time; when a video outgrows them, two become one.
_TIME_BINS = 240
_DISTANCE_BIN_M = 0.25
_DISTANCE_BINS = 40  # up to 10 m
_HEAT_CELL_M = 0.5
_MAX_HEAT_CELLS = 400
# Longest events that are listed.
_LISTED_EVENTS = 200
# Columns of the time bins.
_PEOPLE, _VIOLATING_PEOPLE, _VIOLATING_PAIRS, _FRAMES, _FRAMES_IN_METRES = range(5)


class ReportCollector:
    """Sums up frames and events for the report."""

    def __init__(self, *, threshold_m: float, camera: Optional[CameraModel], image_size: tuple[int, int]) -> None:
        """Start with nothing.

        Args:
            threshold_m: of a violation, metres.
            camera: None without a calibration; then the report says nothing about distances.
            image_size: (width, height) of the source, pixels.
        """
        self._threshold_m = threshold_m
        self._calibrated = camera is not None
        self._bin_s = 0.5
        self._bins = np.zeros((_TIME_BINS, 5))
        self._distances = np.zeros(_DISTANCE_BINS)
        self._heat = np.zeros((1, 1))
        self._heat_origin = np.zeros(2)
        self._heat_cell_m = _HEAT_CELL_M
        if camera is not None:
            self._lay_out_heat(camera, image_size)
        self._events: list[ViolationEvent] = []
        self._event_count = 0

    def add(self, result: FrameResult) -> None:
        """Count one frame."""
        while result.time_s >= _TIME_BINS * self._bin_s:
            self._halve_time_bins()
        observed = result.tracks.observed
        row = self._bins[int(result.time_s / self._bin_s)]
        row += (int(observed.sum()), 0, 0, 1, 0)
        if result.in_metres:
            row += (0, len(result.violating_people), len(result.violating_pairs), 0, 1)
        near = result.pairs.distance_m[result.pairs.distance_m < _DISTANCE_BINS * _DISTANCE_BIN_M]
        np.add.at(self._distances, (near / _DISTANCE_BIN_M).astype(np.int64), 1)
        places = result.ground.xy_m[observed & result.ground.valid]
        cells = np.floor((places - self._heat_origin) / self._heat_cell_m).astype(np.int64)
        inside = ((cells >= 0) & (cells < self._heat.shape[::-1])).all(axis=1)
        np.add.at(self._heat, (cells[inside, 1], cells[inside, 0]), 1)
        self.add_events(result.closed_events)

    def add_events(self, events: Iterable[ViolationEvent]) -> None:
        """Take closed events; the longest are kept."""
        for event in events:
            self._events.append(event)
            self._event_count += 1
        if len(self._events) > 2 * _LISTED_EVENTS:
            self._events = self._longest()

    def write(self, path: Path, summary: dict[str, Any], worst_jpeg: Optional[bytes]) -> None:
        """Write the report.

        Args:
            path: of the HTML file.
            summary: as in summary.json.
            worst_jpeg: still of the worst moment, people hidden, or None.
        """
        used = self._bins[:, _FRAMES] > 0
        bins = self._bins[: int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0]
        people = bins[:, _PEOPLE] / np.maximum(bins[:, _FRAMES], 1)
        in_metres = bins[:, _FRAMES_IN_METRES]
        # A stretch without frames has nobody too close, as it has nobody; one without metres is not known.
        measured = np.where((in_metres > 0) | (bins[:, _FRAMES] == 0), np.maximum(in_metres, 1), np.nan)
        write_page(
            path,
            summary,
            time_s=(np.arange(len(bins)) + 0.5) * self._bin_s,
            people=people,
            violating_people=bins[:, _VIOLATING_PEOPLE] / measured,
            violating_pairs=bins[:, _VIOLATING_PAIRS] / measured,
            distance_counts=self._distances,
            distance_bin_m=_DISTANCE_BIN_M,
            threshold_m=self._threshold_m,
            heat=self._heat if self._calibrated else None,
            heat_cell_m=self._heat_cell_m,
            events=sorted(self._longest(), key=lambda event: event.start_s),
            event_count=self._event_count,
            worst_jpeg=worst_jpeg,
        )

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later: arrays and JSON values."""
        return {
            "bins": self._bins,
            "distances": self._distances,
            "heat": self._heat,
            "bin_s": self._bin_s,
            "events": [asdict(event) for event in self._events],
            "event_count": self._event_count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._bins, self._distances, self._heat = (np.array(state[name]) for name in ("bins", "distances", "heat"))
        self._bin_s = state["bin_s"]
        self._events = [ViolationEvent(**event) for event in state["events"]]
        self._event_count = state["event_count"]

    def _longest(self) -> list[ViolationEvent]:
        return sorted(self._events, key=lambda event: (-event.duration_s, event.event_id))[:_LISTED_EVENTS]

    def _halve_time_bins(self) -> None:
        halved = self._bins.reshape(_TIME_BINS // 2, 2, self._bins.shape[1]).sum(axis=1)
        self._bins = np.vstack([halved, np.zeros_like(halved)])
        self._bin_s *= 2

    def _lay_out_heat(self, camera: CameraModel, image_size: tuple[int, int]) -> None:
        outline = visible_ground(camera, image_size)
        low, high = outline.min(axis=0), outline.max(axis=0)
        self._heat_origin = low
        self._heat_cell_m = max(_HEAT_CELL_M, float((high - low).max()) / _MAX_HEAT_CELLS)
        columns, rows = np.ceil((high - low) / self._heat_cell_m).astype(int) + 1
        self._heat = np.zeros((rows, columns))

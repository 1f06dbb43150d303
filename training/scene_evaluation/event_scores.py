"""Violation events of an analysis against the events that the true positions give under the same rules."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from edge_app.config import EventConfig
from edge_app.distances import measure_pairs
from edge_app.errors import UserError
from edge_app.events import EventDetector
from edge_app.records import FloatArray, GroundPoints, ViolationEvent
from edge_app.tracking.association import assign
from training.scene_evaluation.alignment import Alignment
from training.scene_evaluation.close_pairs import PairScores

_MIN_OVERLAP = 0.5
# Times are written in whole milliseconds; an overlap of just a half must not depend on that.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Event:
    """Two identities that were close from ``start_s`` to ``end_s`` (the last frame's time), ``id_a < id_b``."""

    id_a: int
    id_b: int
    start_s: float
    end_s: float


def read_events(path: Path) -> tuple[Event, ...]:
    """Read ``events.csv`` as ``analyze`` writes it.

    Raises:
        UserError: the file is missing or malformed.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(
                Event(int(row["id_a"]), int(row["id_b"]), float(row["start_s"]), float(row["end_s"]))
                for row in csv.DictReader(stream)
            )
    except FileNotFoundError as error:
        raise UserError(f"events {path} do not exist; check the path") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"events {path} are not an events.csv of 'analyze' ({error}); analyse the video again"
        ) from error


def true_events(alignment: Alignment, fps: float, threshold_m: float, rules: EventConfig) -> tuple[Event, ...]:
    """Run the device's event rules over the true positions of people who count."""
    detector = EventDetector(threshold_m, rules)
    events: list[ViolationEvent] = []
    for frame in alignment.frames:
        count = len(frame.person_id)
        ground = GroundPoints(
            frame.person_xy_m, np.zeros((count, 2, 2)), np.ones(count, np.bool_), np.zeros((count, 0, 2))
        )
        events += detector.update((frame.frame - 1) / fps, measure_pairs(frame.person_id, ground, threshold_m))
    events += detector.finish()
    return tuple(Event(event.id_a, event.id_b, event.start_s, event.end_s) for event in events)


def score_events(found: tuple[Event, ...], true: tuple[Event, ...], alignment: Alignment, fps: float) -> PairScores:
    """Match events of the same two people whose times overlap with an IoU of at least 0.5, one to one.

    A track stands for the person whom it shows in most frames of the event; an event of a track that mostly shows a
    person who is to be ignored is left out, one of a track that shows nobody is wrong.
    """
    identities = _Identities(alignment, fps)
    named = [identities.name(event) for event in found]
    counted = [event for event in named if event is not None]
    overlap = _overlap(counted, true, 1.0 / fps)
    rows, _ = assign(np.where(overlap >= _MIN_OVERLAP - _ROUNDING, 1.0 - overlap, np.inf))
    return PairScores(len(rows), len(counted) - len(rows), len(true) - len(rows))


class _Identities:
    """Whom each track shows when."""

    _NOBODY = -1
    _IGNORED = -2

    def __init__(self, alignment: Alignment, fps: float) -> None:
        self._fps = fps
        self._shown: dict[int, dict[int, int]] = {}
        for frame in alignment.frames:
            for track_id, index in zip(frame.track_id.tolist(), frame.person_of_track.tolist()):
                person = int(frame.person_id[index]) if index >= 0 else self._NOBODY
                self._shown.setdefault(track_id, {})[frame.frame] = person
        for number, track_id in alignment.ignored:
            self._shown.setdefault(track_id, {})[number] = self._IGNORED

    def name(self, event: Event) -> Optional[Event]:
        """Return the event with people's identities (``_NOBODY`` where a track shows nobody), None if ignored."""
        people = sorted(self._person(track_id, event) for track_id in (event.id_a, event.id_b))
        if self._IGNORED in people:
            return None
        return Event(people[0], people[1], event.start_s, event.end_s)

    def _person(self, track_id: int, event: Event) -> int:
        first, last = round(event.start_s * self._fps) + 1, round(event.end_s * self._fps) + 1
        shown = self._shown.get(track_id, {})
        votes = Counter(shown[frame] for frame in range(first, last + 1) if frame in shown)
        named = {person: count for person, count in votes.items() if person != self._NOBODY}
        return max(named, key=lambda person: (named[person], -person)) if named else self._NOBODY


def _overlap(found: list[Event], true: tuple[Event, ...], frame_s: float) -> FloatArray:
    """Return the (N, M) IoU of the times of events of the same two people; 0 for other people."""
    overlap = np.zeros((len(found), len(true)))
    for row, a in enumerate(found):
        for column, b in enumerate(true):
            if (a.id_a, a.id_b) != (b.id_a, b.id_b):
                continue
            # The last frame lasts as well, which gives events of a single frame a length.
            shared = min(a.end_s, b.end_s) - max(a.start_s, b.start_s) + frame_s
            either = max(a.end_s, b.end_s) - min(a.start_s, b.start_s) + frame_s
            overlap[row, column] = max(0.0, shared) / either
    return overlap

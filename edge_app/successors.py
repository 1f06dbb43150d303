"""Which new track goes on where another one ended: the same person under a new id."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edge_app.records import FloatArray, GroundPoints, IntArray
from edge_app.tracking.association import assign

# A track that starts this near to where the lost one would be now is the same person: the spread of a foot and half a
# step, and for each second in between what a walker deviates from a steady course.
_NEAR_M = 0.5
_DEVIATION_M_S = 0.5
# Time constant of the smoothed velocity.
_VELOCITY_TIME_S = 0.7


class _Last(NamedTuple):
    """Where a person was when last seen: seconds, metres, metres a second."""

    time_s: float
    x: float
    y: float
    speed_x: float
    speed_y: float


class Successors:
    """Remembers where people were seen last, and recognises who goes on from there."""

    def __init__(self, max_gap_s: float) -> None:
        """Make one that looks back ``max_gap_s`` seconds."""
        self._max_gap_s = max_gap_s
        self._last: dict[int, _Last] = {}

    def update(self, time_s: float, ids: IntArray, ground: GroundPoints) -> list[tuple[int, int]]:
        """Take the people of one frame.

        Args:
            time_s: frame time.
            ids: (N,) people seen in this frame.
            ground: their positions.

        Returns:
            (lost id, new id) of each person who goes on under a new id from this frame on.
        """
        places = dict(zip(ids[ground.valid].tolist(), ground.xy_m[ground.valid]))
        self._last = {track: last for track, last in self._last.items() if time_s - last.time_s <= self._max_gap_s}
        lost = [track for track in self._last if track not in places]
        new = [track for track in places if track not in self._last]
        found = [(lost[row], new[column]) for row, column in self._matches(time_s, lost, [places[t] for t in new])]
        for old, _ in found:
            del self._last[old]
        for track, place in places.items():
            self._last[track] = _moved(self._last.get(track), time_s, place)
        return found

    def state(self) -> list[list[float]]:
        """Return all that is needed to go on later, as JSON values."""
        return [[track, *last] for track, last in self._last.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from what ``state`` returned."""
        self._last = {int(row[0]): _Last(*row[1:]) for row in state}

    def _matches(self, time_s: float, lost: list[int], places: list[FloatArray]) -> list[tuple[int, int]]:
        if not lost or not places:
            return []
        last = np.array([self._last[track] for track in lost])
        gap_s = (time_s - last[:, 0])[:, None]
        expected = last[:, 1:3] + gap_s * last[:, 3:5]
        apart_m = np.linalg.norm(expected[:, None] - np.array(places)[None], axis=2)
        rows, columns = assign(np.where(apart_m <= _NEAR_M + _DEVIATION_M_S * gap_s, apart_m, np.inf))
        return list(zip(rows.tolist(), columns.tolist()))


def _moved(before: _Last | None, time_s: float, place: FloatArray) -> _Last:
    x, y = place.tolist()
    if before is None:
        return _Last(time_s, x, y, 0.0, 0.0)
    step_s = time_s - before.time_s
    if step_s <= 0:
        return before
    gain = 1 - float(np.exp(-step_s / _VELOCITY_TIME_S))
    speed_x = before.speed_x + gain * ((x - before.x) / step_s - before.speed_x)
    speed_y = before.speed_y + gain * ((y - before.y) / step_s - before.speed_y)
    return _Last(time_s, x, y, speed_x, speed_y)

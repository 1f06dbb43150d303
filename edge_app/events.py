"""From distances frame by frame to violation events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np

from edge_app.config import EventConfig
from edge_app.records import FloatArray, IntArray, Pairs, ViolationEvent


@dataclass
class _OpenEvent:
    """A pair that came closer than the threshold and has not parted for long enough yet."""

    start_s: float
    last_s: float
    min_distance_m: float
    sum_distance_m: float
    frames: int
    same_group: Optional[bool]


class EventDetector:
    """Turns pair distances into events, pair by pair, on frame time alone.

    A pair's event starts in the first frame in which it is probably under the threshold. It goes on while that stays
    probable enough, or the measured distance stays under the threshold plus a margin (hysteresis). It survives
    interruptions up to ``max_gap_s`` (apart, or one of the two not seen), and ends at the last frame in which the pair
    was close. Events shorter than ``min_duration_s`` are dropped and counted.
    Whether the two are one group is what was known of them at the end of the event.
    """

    def __init__(self, threshold_m: float, config: EventConfig) -> None:
        self._exit_m = threshold_m + config.exit_margin_m
        self._open_probability = config.open_probability
        self._close_probability = config.close_probability
        self._min_duration_s = config.min_duration_s
        self._max_gap_s = config.max_gap_s
        self._open: dict[tuple[int, int], _OpenEvent] = {}
        # End of each pair's last event, as long as an event is open that began before it.
        self._ended: dict[tuple[int, int], float] = {}
        self._next_id = 1
        self.dropped_short = 0

    def update(self, time_s: float, pairs: Pairs) -> tuple[ViolationEvent, ...]:
        """Take the pairs of one frame and return the events that closed.

        Args:
            time_s: frame time; must not decrease.
            pairs: the distances of this frame.
        """
        closed = self._close(lambda event: time_s - event.last_s > self._max_gap_s)
        goes_on = (pairs.distance_m < self._exit_m) | (pairs.p_violation >= self._close_probability)
        opens = pairs.p_violation >= self._open_probability
        for index in np.flatnonzero(goes_on | opens):
            key = (int(pairs.id_a[index]), int(pairs.id_b[index]))
            distance_m = float(pairs.distance_m[index])
            same_group = None if pairs.same_group is None else bool(pairs.same_group[index])
            event = self._open.get(key)
            if event is not None:
                event.last_s = time_s
                event.min_distance_m = min(event.min_distance_m, distance_m)
                event.sum_distance_m += distance_m
                event.frames += 1
                event.same_group = same_group
            elif opens[index]:
                self._open[key] = _OpenEvent(time_s, time_s, distance_m, distance_m, 1, same_group)
        return closed

    def violating_pairs(self, time_s: float) -> IntArray:
        """Return the (K, 2) id pairs that were close in the frame at ``time_s``, the last one given to ``update``."""
        keys = sorted(key for key, event in self._open.items() if event.last_s == time_s)
        return np.array(keys, np.int64).reshape(-1, 2)

    def began_s(self, pairs: IntArray) -> FloatArray:
        """Return the (K,) times at which the open events of these (K, 2) id pairs began."""
        return np.array([self._open[a, b].start_s for a, b in pairs.tolist()], np.float64)

    def go_on(self, lost: int, new: int) -> None:
        """Let the open events of a person who is lost go on under a new id; an event is named by its last ids.

        One that began before an event of the new pair ended does not: both were there at once, so they are not one.
        """
        for pair in [pair for pair in self._open if lost in pair]:
            other = pair[0] if pair[1] == lost else pair[1]
            renamed = (min(other, new), max(other, new))
            if self._open[pair].start_s <= self._ended.get(renamed, -np.inf):
                continue
            event = self._open.pop(pair)
            if other == new:
                continue
            already = self._open.get(renamed)
            self._open[renamed] = event if already is None else _joined(event, already)

    def forget(self, ids: IntArray) -> None:
        """Take back open events of tracks that turned out to be nobody."""
        nobody = set(ids.tolist())
        if nobody:
            self._open = {pair: event for pair, event in self._open.items() if nobody.isdisjoint(pair)}

    def finish(self) -> tuple[ViolationEvent, ...]:
        """Close every open event; the source has ended."""
        return self._close(lambda event: True)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        return {
            "open": [[*key, *vars(event).values()] for key, event in self._open.items()],
            "ended": [[*key, end_s] for key, end_s in self._ended.items()],
            "next_id": self._next_id,
            "dropped_short": self.dropped_short,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._open = {(row[0], row[1]): _OpenEvent(*row[2:]) for row in state["open"]}
        self._ended = {(row[0], row[1]): row[2] for row in state["ended"]}
        self._next_id = state["next_id"]
        self.dropped_short = state["dropped_short"]

    def _close(self, is_over: Callable[[_OpenEvent], bool]) -> tuple[ViolationEvent, ...]:
        over = [(event.last_s, key, event) for key, event in self._open.items() if is_over(event)]
        closed = []
        for end_s, key, event in sorted(over, key=lambda item: item[:2]):
            del self._open[key]
            if end_s - event.start_s < self._min_duration_s:
                self.dropped_short += 1
                continue
            mean_m = event.sum_distance_m / event.frames
            closed.append(
                ViolationEvent(
                    self._next_id, *key, event.start_s, end_s, event.min_distance_m, mean_m, event.same_group
                )
            )
            self._next_id += 1
            self._ended[key] = end_s
        if self._ended:
            first_s = min((event.start_s for event in self._open.values()), default=np.inf)
            self._ended = {key: end_s for key, end_s in self._ended.items() if end_s >= first_s}
        return tuple(closed)


def _joined(first: _OpenEvent, second: _OpenEvent) -> _OpenEvent:
    """Return one event of the same two people out of two."""
    return _OpenEvent(
        min(first.start_s, second.start_s),
        max(first.last_s, second.last_s),
        min(first.min_distance_m, second.min_distance_m),
        first.sum_distance_m + second.sum_distance_m,
        first.frames + second.frames,
        second.same_group if second.last_s >= first.last_s else first.same_group,
    )

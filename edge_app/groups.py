"""Who belongs together: people who walk side by side for a while are one group.

A group never hides a violation; it is said beside the number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_app.config import GroupConfig
from edge_app.records import BoolArray, FloatArray, GroundPoints, IntArray, Pairs

# Below this speed two people standing in a queue would look like a pair that moves together.
_WALKING_M_S = 0.4
# Two who walk together differ in velocity by less than this part of their speed, people who pass one another by more.
_SAME_VELOCITY = 0.5
# Time constant of the smoothed velocity, about one pair of steps.
_VELOCITY_TIME_S = 1.0
# How long a group that stands still or is out of sight is remembered.
_MEMORY_S = 120.0
# Positions older than this say nothing about velocity.
_MAX_STEP_S = 2.0


class GroupDetector:
    """Collects, for each pair of people, how long they have walked together."""

    def __init__(self, config: GroupConfig) -> None:
        self._min_together_s = config.min_together_s
        self._max_distance_m = config.max_distance_m
        self._id = np.zeros(0, np.int64)
        self._time_s = np.zeros(0)
        self._xy_m = np.zeros((0, 2))
        self._velocity = np.zeros((0, 2))
        self._together: dict[tuple[int, int], tuple[float, float]] = {}  # pair → evidence in seconds, of which time

    def update(self, time_s: float, ids: IntArray, ground: GroundPoints, pairs: Pairs) -> BoolArray:
        """Take one frame and say of each pair whether the two are one group.

        Args:
            time_s: frame time.
            ids: (N,) people seen in this frame.
            ground: their positions.
            pairs: their M distances.

        Returns:
            (M,) bool.
        """
        usable = ground.valid
        step_s = self._move(time_s, ids[usable], ground.xy_m[usable])
        near = np.flatnonzero(pairs.distance_m < self._max_distance_m)
        first = np.searchsorted(self._id, pairs.id_a[near])
        second = np.searchsorted(self._id, pairs.id_b[near])
        evidence_s = self._evidence_of(first, second) * np.minimum(step_s[first], step_s[second])
        for row, change_s in zip(near.tolist(), evidence_s.tolist()):
            self._count((int(pairs.id_a[row]), int(pairs.id_b[row])), time_s, change_s)
        self._forget(time_s)
        return np.array([self._is_group((a, b)) for a, b in zip(pairs.id_a.tolist(), pairs.id_b.tolist())], np.bool_)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        rows = np.column_stack([self._time_s, self._xy_m, self._velocity])
        return {
            "people": [[int(person), *row] for person, row in zip(self._id, rows.tolist())],
            "together": [[*pair, *evidence] for pair, evidence in self._together.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        people = np.array(state["people"], np.float64).reshape(-1, 6)
        self._id = people[:, 0].astype(np.int64)
        self._time_s, self._xy_m, self._velocity = people[:, 1], people[:, 2:4], people[:, 4:6]
        self._together = {(row[0], row[1]): (row[2], row[3]) for row in state["together"]}

    def _move(self, time_s: float, ids: IntArray, xy_m: FloatArray) -> FloatArray:
        """Update smoothed velocities; afterwards people are in order of id. Returns seconds since each was seen."""
        order = np.argsort(ids)
        ids, xy_m = ids[order], xy_m[order]
        velocity = np.zeros((len(ids), 2))
        step_s = np.zeros(len(ids))
        place = np.searchsorted(self._id, ids)
        now = np.flatnonzero(self._id[np.minimum(place, len(self._id) - 1)] == ids) if len(self._id) else place[:0]
        before = place[now]
        kept = time_s - self._time_s <= _MAX_STEP_S
        kept[before] = False
        elapsed = time_s - self._time_s[before]
        fresh = (elapsed > 0) & (elapsed <= _MAX_STEP_S)
        now, before, elapsed = now[fresh], before[fresh], elapsed[fresh]
        raw = (xy_m[now] - self._xy_m[before]) / elapsed[:, None]
        gain = 1 - np.exp(-elapsed / _VELOCITY_TIME_S)
        velocity[now] = self._velocity[before] + gain[:, None] * (raw - self._velocity[before])
        step_s[now] = elapsed
        all_ids = np.concatenate([ids, self._id[kept]])
        in_order = np.argsort(all_ids)
        self._id = all_ids[in_order]
        self._time_s = np.concatenate([np.full(len(ids), time_s), self._time_s[kept]])[in_order]
        self._xy_m = np.concatenate([xy_m, self._xy_m[kept]])[in_order]
        self._velocity = np.concatenate([velocity, self._velocity[kept]])[in_order]
        return np.concatenate([step_s, np.zeros(int(kept.sum()))])[in_order]

    def _evidence_of(self, first: IntArray, second: IntArray) -> FloatArray:
        """Return 1 for each pair that walks together now, -1 for one that walks apart, 0 where one stands."""
        velocity_a, velocity_b = self._velocity[first], self._velocity[second]
        speed_a, speed_b = np.hypot(*velocity_a.T), np.hypot(*velocity_b.T)
        difference = np.hypot(*(velocity_a - velocity_b).T)
        both_walk = np.minimum(speed_a, speed_b) > _WALKING_M_S
        alike = difference < _SAME_VELOCITY * 0.5 * (speed_a + speed_b)
        return np.where(both_walk, np.where(alike, 1.0, -1.0), 0.0)

    def _count(self, pair: tuple[int, int], time_s: float, change_s: float) -> None:
        together_s = self._together.get(pair, (0.0, time_s))[0]
        # Bounded, so that a long walk together does not outweigh for minutes that the two have parted.
        together_s = min(max(together_s + change_s, 0.0), 2 * self._min_together_s)
        if together_s > 0:
            self._together[pair] = (together_s, time_s)
        else:
            self._together.pop(pair, None)

    def _is_group(self, pair: tuple[int, int]) -> bool:
        return self._together.get(pair, (0.0, 0.0))[0] >= self._min_together_s

    def _forget(self, time_s: float) -> None:
        old = [pair for pair, (_, since_s) in self._together.items() if time_s - since_s > _MEMORY_S]
        for pair in old:
            del self._together[pair]

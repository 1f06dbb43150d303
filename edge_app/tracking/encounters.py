"""Whether two people who met have kept their identities: what they looked like before against after.

While two people cover one another, motion alone cannot tell who comes out on which side. So what each of them looked
like is kept as it was before they met, and when both stand apart again it is compared with what is seen then, look by
look, until it is clear that they are who they were, or that their identities must be exchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge_app.box_overlap import shared_area, touching_pairs
from edge_app.records import BoolArray, FloatArray, IntArray
from edge_app.tracking.appearance import Appearance, evidence_of_exchange

# Boxes that share more than this part of the smaller one touch; who touches cannot be seen alone.
_TOUCH = 0.05
# An identity is exchanged when that is e^5, 150 times, likelier than not, and is kept for certain in the other case.
_SURE = 10.0
# Looks that follow one another faster than this are hardly two.
_INDEPENDENT_S = 0.15
# Those who have not touched for so long, and still could not be told, have changed too much in pose and light.
_MEMORY_S = 3.0


class Known(NamedTuple):
    """Confirmed tracks in one frame, all of length T.

    Attributes:
        id: (T,) identities, each once.
        boxes: (T, 4) where they are, pixels xyxy.
        before: (T, D) what they looked like so far.
        now: (T, D) what they look like in this frame; NaN where they are not seen.
    """

    id: IntArray
    boxes: FloatArray
    before: Appearance
    now: Appearance


class Encounters:
    """Pairs of tracks that met and have not been told apart since.

    Attributes:
        pairs: (K, 2) their ids, the smaller one first.
        met_s: (K,) when they touched last.
        evidence: (K,) for an exchange of their identities, twice the logarithm of a likelihood ratio.
    """

    def __init__(self) -> None:
        self.pairs: IntArray = np.zeros((0, 2), np.int64)
        self.met_s: FloatArray = np.zeros(0)
        self.evidence: FloatArray = np.zeros(0)

    def __len__(self) -> int:
        return len(self.pairs)

    def meet(self, time_s: float, ids: IntArray, boxes: FloatArray) -> None:
        """Note which of T tracks, in (T, 4) boxes, touch one another."""
        self._keep(time_s - self.met_s <= _MEMORY_S)
        if len(ids) < 2:
            return
        first, second = touching_pairs(boxes)
        touch = _shared_parts(boxes[first], boxes[second]) > _TOUCH
        first, second = first[touch], second[touch]
        if len(first) == 0:
            return
        touching = np.sort(np.column_stack([ids[first], ids[second]]), axis=1)
        same = (self.pairs[:, None] == touching[None]).all(axis=2)
        self.met_s[same.any(axis=1)] = time_s
        new = touching[~same.any(axis=0)]
        self.pairs = np.concatenate([self.pairs, new])
        self.met_s = np.concatenate([self.met_s, np.full(len(new), time_s)])
        self.evidence = np.concatenate([self.evidence, np.zeros(len(new))])

    def involve(self, ids: IntArray) -> BoolArray:
        """Tell which of (T,) tracks are in doubt: what they look like now may be somebody else's look."""
        involved: BoolArray = (ids[:, None] == self.pairs.ravel()).any(axis=1)
        return involved

    def exchanged(self, step_s: float, known: Known) -> list[tuple[int, int]]:
        """Compare what people look like with before; returns pairs of rows of ``known`` whose identities are exchanged.

        Args:
            step_s: seconds since the frame before.
            known: all confirmed tracks.
        """
        if len(self.pairs) == 0:
            return []
        is_row = self.pairs[:, :, None] == known.id
        there = is_row.any(axis=2).all(axis=1)
        self._keep(there)
        rows = is_row[there].argmax(axis=2) if there.any() else np.zeros((0, 2), np.int64)
        apart = _shared_parts(known.boxes[rows[:, 0]], known.boxes[rows[:, 1]]) <= _TOUCH
        evidence = evidence_of_exchange(known.before[rows], known.now[rows])
        self.evidence += np.where(apart, evidence, 0.0) * min(1.0, step_s / _INDEPENDENT_S)
        if not (np.abs(self.evidence) >= _SURE).any():
            return []
        done = np.zeros(len(rows), np.bool_)
        taken: set[int] = set()
        for row in np.argsort(-self.evidence):
            # Whoever is in two exchanges at once takes part in the clearer one; the other is judged anew.
            if self.evidence[row] >= _SURE and not taken.intersection(rows[row].tolist()):
                done[row] = True
                taken.update(rows[row].tolist())
        self.evidence[np.isin(rows, list(taken)).any(axis=1)] = 0.0
        self._keep(~done & (self.evidence > -_SURE))
        return [(int(first), int(second)) for first, second in rows[done]]

    def state(self) -> dict[str, FloatArray]:
        """Return all that is needed to go on later, as arrays."""
        return {"pairs": self.pairs.astype(np.float64), "met_s": self.met_s, "evidence": self.evidence}

    def restore(self, state: dict[str, FloatArray]) -> None:
        """Go on from what ``state`` returned."""
        self.pairs = np.array(state["pairs"]).astype(np.int64).reshape(-1, 2)
        self.met_s, self.evidence = np.array(state["met_s"]), np.array(state["evidence"])

    def _keep(self, keep: BoolArray) -> None:
        if not keep.all():
            self.pairs, self.met_s, self.evidence = self.pairs[keep], self.met_s[keep], self.evidence[keep]


def _shared_parts(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return which part of the smaller one boxes (N, 4) share with others."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    other_area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    part: FloatArray = shared_area(boxes, others) / np.maximum(np.minimum(area, other_area), 1e-9)
    return part

"""Boxes in which something was taken for a person, and what the picture there looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.records import BoolArray, FloatArray, IntArray
from edge_app.still_things.looks import COLUMNS, ROWS


@dataclass
class Places:
    """P boxes in which something was taken for a person, and what the picture there looks like.

    Attributes:
        box: (P, 4) pixels.
        now: (P, rows, columns) grey levels, averaged over the last moments.
        unchanged: (P, rows, columns) what it has looked like since ``since_s``, (P,).
        thing: (P, rows, columns) what it looked like when it was found to be a thing; NaN before.
        seen_s, looked_s: (P,) when a track was there last, and when the picture was looked at last.
        changed_s: (P,) when the picture changed last by more than a person's sway; minus infinity: never yet.
        told_s: (P,) when it could be told last whether it changed.
        known_s: (P,) when it looked last like the thing that it was found to be; minus infinity: never yet.
        is_thing: (P,) nothing has changed for long enough.
        witness: (P, 4) a box of the same size elsewhere, pixels; most of them see nothing but noise.
        witness_now, witness_before: (P, rows, columns) as ``now`` and ``unchanged``, of the witness.
        begun_s: (P,) since when the witness is looked at.
    """

    box: FloatArray
    now: FloatArray
    unchanged: FloatArray
    thing: FloatArray
    since_s: FloatArray
    seen_s: FloatArray
    looked_s: FloatArray
    changed_s: FloatArray
    told_s: FloatArray
    known_s: FloatArray
    is_thing: BoolArray
    witness: FloatArray
    witness_now: FloatArray
    witness_before: FloatArray
    begun_s: FloatArray

    def __len__(self) -> int:
        return len(self.is_thing)

    @staticmethod
    def none() -> Places:
        nowhere, nothing = np.zeros((0, 4)), np.zeros((0, ROWS, COLUMNS))
        return Places.begin(0.0, nowhere, nothing, nowhere, nothing)

    @staticmethod
    def begin(
        time_s: float, box: FloatArray, cells: FloatArray, witness: FloatArray, witness_cells: FloatArray
    ) -> Places:
        times = np.full(len(box), time_s)
        return Places(
            box=box,
            now=cells,
            unchanged=cells.copy(),
            thing=np.full_like(cells, np.nan),
            since_s=times,
            seen_s=times.copy(),
            looked_s=times.copy(),
            told_s=np.full(len(box), -np.inf),
            changed_s=np.full(len(box), -np.inf),
            known_s=np.full(len(box), -np.inf),
            is_thing=np.zeros(len(box), np.bool_),
            witness=witness,
            witness_now=witness_cells,
            witness_before=witness_cells.copy(),
            begun_s=times.copy(),
        )

    def select(self, rows: IntArray) -> Places:
        return Places(*(value[rows] for value in vars(self).values()))

    def append(self, other: Places) -> Places:
        return Places(*(np.concatenate(both) for both in zip(vars(self).values(), vars(other).values())))

"""What a frame said of each track: the tracker's record for those who judge in hindsight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.records import BoolArray, FloatArray, IntArray
from edge_app.tracking.motion import Measurements


@dataclass(frozen=True)
class Trace:
    """All tracks at one frame, those that do not count (yet) too, all of length N.

    Attributes:
        serial: (N,) number of each track from its first detection on, ascending; never used twice.
        id: (N,) of the person, 0 for a track that is not confirmed. Tracks can exchange their ids.
        measured: foot and height of the detection that was assigned in this frame; NaN where there was none.
        worth: (N,) what that detection's score says (``edge_app.evidence``); NaN where there was none.
        aspect: (N,) width of the box in parts of the height.
        score: (N,) float32, of the detection that was assigned last.
    """

    serial: IntArray
    id: IntArray
    measured: Measurements
    worth: FloatArray
    aspect: FloatArray
    score: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.serial)

    @property
    def seen(self) -> BoolArray:
        """(N,) whether a detection was assigned in this frame."""
        return ~np.isnan(self.worth)

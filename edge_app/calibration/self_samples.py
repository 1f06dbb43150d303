"""What self-calibration remembers of people walking by: short pieces of their tracks, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edge_app.records import BoolArray, FloatArray, IntArray, Tracks

# Boxes of one person are averaged over half a second: less noise, and neighbouring frames are hardly independent.
BIN_S = 0.5
# A piece of a track is this many bins: 2.5 s, in which most people walk straight at a steady speed.
BINS = 5
# A piece ends when nothing was seen for this long.
_MAX_GAP_S = 1.0
# Pieces that are remembered: 40 minutes of one person walking, 4 minutes of ten.
_MAX_PIECES = 1000
_BORDER_PX = 2.0
# A box that shares this part of its area with a nearer person's box is taken to be hidden in part.
_HIDDEN_PART = 0.1
# Width to height of an upright person, with room for a stride; outside this a box holds something else.
_MIN_ASPECT, _MAX_ASPECT = 0.15, 1.0
_SEED = 1


class _Bin(NamedTuple):
    """Mean of the boxes of one person in one half second: seconds, foot x, foot y and head y in source pixels."""

    time_s: float
    foot_x: float
    foot_y: float
    head_y: float


@dataclass(frozen=True)
class Pieces:
    """S pieces of tracks, each of up to ``BINS`` half seconds.

    Attributes:
        track: (S,) int64, 0 to the number of tracks minus one.
        time_s: (S, BINS) seconds.
        foot: (S, BINS, 2) source pixels.
        head_row: (S, BINS) source pixels.
        present: (S, BINS) bool, False where the piece is shorter; the other arrays repeat a present bin there.
    """

    track: IntArray
    time_s: FloatArray
    foot: FloatArray
    head_row: FloatArray
    present: BoolArray

    def __len__(self) -> int:
        return len(self.track)

    @property
    def height_px(self) -> FloatArray:
        """(S, BINS) box heights, pixels."""
        return self.foot[..., 1] - self.head_row


@dataclass
class _Walker:
    """The open piece of one track, and the sums of its open half second."""

    bins: list[_Bin] = field(default_factory=list)
    sums: FloatArray = field(default_factory=lambda: np.zeros(4))
    count: int = 0
    bin_start_s: float = -np.inf
    seen_s: float = -np.inf

    def close_bin(self) -> None:
        if self.count:
            self.bins.append(_Bin(*(self.sums / self.count).tolist()))
        self.sums = np.zeros(4)
        self.count = 0


class SampleStore:
    """Turns tracks into pieces; keeps a uniform random choice of all pieces when there are too many.

    The choice is reservoir sampling (Vitter, ACM Trans. Math. Softw. 11(1), 1985), so that hours of a scene count
    alike and memory stays the same.
    """

    def __init__(self, image_width: int, image_height: int) -> None:
        self._size = (image_width, image_height)
        self._walkers: dict[int, _Walker] = {}
        self._kept: list[tuple[int, tuple[_Bin, ...]]] = []
        self._offered = 0
        self._generator = np.random.default_rng(_SEED)
        self.boxes_used = 0
        self.boxes_dropped = 0

    def add(self, time_s: float, tracks: Tracks) -> None:
        """Take the tracks of one frame; predicted, cut, hidden and oddly shaped boxes are left out and counted."""
        usable = tracks.observed & _whole(tracks.bbox.astype(np.float64), self._size)
        self.boxes_dropped += int((~usable).sum())
        self.boxes_used += int(usable.sum())
        for row in np.flatnonzero(usable).tolist():
            values = np.array([time_s, tracks.foot[row, 0], tracks.foot[row, 1], tracks.bbox[row, 1]], np.float64)
            self._add_box(int(tracks.id[row]), time_s, values)
        gone = [track_id for track_id, walker in self._walkers.items() if time_s - walker.seen_s > _MAX_GAP_S]
        for track_id in gone:
            self._end_piece(track_id, self._walkers.pop(track_id))

    def pieces(self) -> Pieces:
        """Return what is remembered, including the pieces that are still open."""
        open_pieces = [(track_id, tuple(walker.bins)) for track_id, walker in self._walkers.items() if walker.bins]
        everything = [*self._kept, *open_pieces]
        ids = np.array([track_id for track_id, _ in everything], np.int64)
        values = np.zeros((len(everything), BINS, 4))
        present = np.zeros((len(everything), BINS), np.bool_)
        for index, (_, bins) in enumerate(everything):
            values[index] = bins[0]
            values[index, : len(bins)] = bins
            present[index, : len(bins)] = True
        _, track = np.unique(ids, return_inverse=True)
        return Pieces(track.astype(np.int64), values[..., 0], values[..., 1:3], values[..., 3], present)

    def _add_box(self, track_id: int, time_s: float, values: FloatArray) -> None:
        walker = self._walkers.setdefault(track_id, _Walker())
        if walker.count and time_s - walker.bin_start_s >= BIN_S - 1e-9:
            walker.close_bin()
            if len(walker.bins) >= BINS:
                self._end_piece(track_id, walker)
        if walker.count == 0:
            walker.bin_start_s = time_s
        walker.sums += values
        walker.count += 1
        walker.seen_s = time_s

    def _end_piece(self, track_id: int, walker: _Walker) -> None:
        if walker.count:
            walker.close_bin()
        if walker.bins:
            self._keep(track_id, tuple(walker.bins[:BINS]))
        walker.bins = []

    def _keep(self, track_id: int, bins: tuple[_Bin, ...]) -> None:
        self._offered += 1
        if len(self._kept) < _MAX_PIECES:
            self._kept.append((track_id, bins))
            return
        place = int(self._generator.integers(self._offered))
        if place < _MAX_PIECES:
            self._kept[place] = (track_id, bins)


def _whole(bbox: FloatArray, size: tuple[int, int]) -> BoolArray:
    """Tell which (N, 4) boxes show a whole upright person: not cut by the border, not behind a nearer person."""
    left, top, right, bottom = bbox.T
    width, height = right - left, bottom - top
    inside = (left > _BORDER_PX) & (top > _BORDER_PX)
    inside &= (right < size[0] - _BORDER_PX) & (bottom < size[1] - _BORDER_PX)
    shaped = (height > 0) & (width > _MIN_ASPECT * height) & (width < _MAX_ASPECT * height)
    shared_x = np.minimum(right[:, None], right[None]) - np.maximum(left[:, None], left[None])
    shared_y = np.minimum(bottom[:, None], bottom[None]) - np.maximum(top[:, None], top[None])
    shared = np.maximum(shared_x, 0) * np.maximum(shared_y, 0)
    nearer = bottom[None] > bottom[:, None]
    hidden = (nearer & (shared > _HIDDEN_PART * (width * height)[:, None])).any(axis=1)
    return inside & shaped & ~hidden

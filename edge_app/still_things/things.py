"""Tells tracks of things from tracks of people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.records import BoolArray, FloatArray, Image, IntArray, Tracks
from edge_app.still_things.config import StillThingsConfig
from edge_app.still_things.looks import (
    COLUMNS,
    FLOOR,
    NOISE_FACTOR,
    ROWS,
    by_blocks,
    cells_of,
    change_of,
    covered_cells,
    is_same,
    moved,
)
from edge_app.still_things.places import Places

# A picture each quarter of a second, and averages over about this long: noise goes, sway stays.
_LOOK_S = 0.25
_AVERAGE_S = 0.6
# What is known as a thing may change by this many times more, shadows and people behind it: a person who stood there
# instead, or began to move, would change it by far more.
_KNOWN = 2.0
# The picture's noise is measured elsewhere in it: steps of an even spread (the golden ratio's, in two dimensions).
_SPREAD = (0.7549, 0.5698)
# Its measure follows by this much a look, up or down, so that somebody who passes there is soon forgotten.
_NOISE_STEP = 0.05
# What is remembered is the mean of the first moments; while nothing changes it then follows the daylight this slowly.
_FIRST_S = 2.0
_DAYLIGHT_S = 3.0
# Whoever went so far from where the track began, in parts of the height, is a person.
_LEFT_PLACE = 0.5
_SAME_PLACE_IOU = 0.5
# Nobody who passes in front of a thing stays there for so long.
_SETTLE_S = 3.0
# Where others cover more than this part of the box nothing can be said.
_MOST_COVERED = 0.5
# Places that are remembered; those without a thing, and not seen for the longest time, are forgotten first.
_MOST_PLACES = 64


@dataclass
class StillThings:
    """Tells things from people, track by track.

    Attributes:
        config: how long nothing must change.
        found: how many things there have been, so far.
    """

    config: StillThingsConfig
    found: int = 0
    _witnessed: int = 0
    _noise: float = 0.0
    _ended: int = 0
    _now: set[int] = field(default_factory=set)
    _places: Places = field(default_factory=Places.none)
    # Where each track began: foot x, foot y, pixels, and whether it has left that place.
    _began: dict[int, tuple[float, float, bool]] = field(default_factory=dict)
    # Since when tracks have been where a known thing is.
    _resting: dict[int, float] = field(default_factory=dict)

    @property
    def things_now(self) -> int:
        """Number of tracks that are things in the newest frame."""
        return len(self._now)

    @property
    def tracks(self) -> int:
        """Number of tracks, so far, that are things or were to their end."""
        return self._ended + len(self._now)

    def update(self, time_s: float, image: Image, tracks: Tracks) -> BoolArray:
        """Tell which tracks are things.

        Args:
            time_s: frame time.
            image: (H, W, 3) BGR, of this frame.
            tracks: N tracks.

        Returns:
            (N,) bool.
        """
        self._began = {int(track): self._beginning(tracks, row) for row, track in enumerate(tracks.id)}
        self._settle(time_s, tracks)
        self._ended += len(self._now - self._began.keys())
        walks = np.array([has_left for _, _, has_left in self._began.values()], np.bool_)
        stays = np.flatnonzero(~walks)
        place = self._places_of(time_s, image, tracks.bbox[stays].astype(np.float64))
        known = place >= 0
        stays, place = stays[known], place[known]
        self._places.seen_s[place] = time_s
        due = np.unique(place[time_s - self._places.looked_s[place] >= _LOOK_S])
        if len(due):
            self._look(time_s, image, due, tracks.bbox[walks].astype(np.float64))
        still = np.zeros(len(tracks), np.bool_)
        still[stays] = self._places.is_thing[place]
        self._now = set(tracks.id[still].tolist())
        return still

    def forget(self) -> None:
        """Begin anew: the picture shows another place."""
        self._ended += len(self._now)
        self._now.clear()
        self._places = Places.none()
        self._began.clear()
        self._resting.clear()

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        places = {name: value.tolist() for name, value in vars(self._places).items()}
        resting = [[track, since_s] for track, since_s in self._resting.items()]
        began = [[track, *where] for track, where in self._began.items()]
        counts = {"now": sorted(self._now), "tracks": self.tracks, "found": self.found, "witnessed": self._witnessed}
        noise = {"noise": self._noise}
        return {"places": places, "began": began, "resting": resting, **counts, **noise}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        empty = Places.none()
        self._places = Places(
            *(
                np.array(state["places"][name], value.dtype).reshape(-1, *value.shape[1:])
                for name, value in vars(empty).items()
            )
        )
        self._began = {row[0]: (row[1], row[2], row[3]) for row in state["began"]}
        self._resting = {row[0]: row[1] for row in state["resting"]}
        self._now, self.found, self._witnessed = set(state["now"]), state["found"], state["witnessed"]
        self._noise = state["noise"]
        self._ended = state["tracks"] - len(self._now)

    def _beginning(self, tracks: Tracks, row: int) -> tuple[float, float, bool]:
        x, y = tracks.foot[row].tolist()
        began_x, began_y, has_left = self._began.get(int(tracks.id[row]), (x, y, False))
        height = float(tracks.bbox[row, 3] - tracks.bbox[row, 1])
        return began_x, began_y, has_left or float(np.hypot(x - began_x, y - began_y)) > _LEFT_PLACE * height

    def _settle(self, time_s: float, tracks: Tracks) -> None:
        """Let tracks that came to rest on a known thing begin there: who passed in front may have led them astray."""
        known = np.isfinite(self._places.thing).all(axis=(1, 2))
        if not known.any():
            self._resting.clear()
            return
        iou = iou_matrix(tracks.bbox.astype(np.float64), self._places.box[known])
        resting = tracks.id[(iou >= _SAME_PLACE_IOU).any(axis=1)].tolist()
        self._resting = {track: self._resting.get(track, time_s) for track in resting}
        for track, since_s in self._resting.items():
            has_left = self._began[track][2]
            if has_left and time_s - since_s >= _SETTLE_S:
                row = int(np.flatnonzero(tracks.id == track)[0])
                self._began[track] = (*tracks.foot[row].tolist(), False)

    def _places_of(self, time_s: float, image: Image, box: FloatArray) -> IntArray:
        """Return the (N,) place of each box, which is remembered if it is new; -1 where it is hardly in the picture."""
        if len(self._places) == 0:
            best, found = np.full(len(box), -1), np.zeros(len(box), np.bool_)
        else:
            iou = iou_matrix(box, self._places.box)
            best = iou.argmax(axis=1)
            found = iou.max(axis=1) >= _SAME_PLACE_IOU
        new = np.flatnonzero(~found)
        cells = cells_of(image, box[new])
        visible = np.isfinite(cells).all(axis=(1, 2))
        new, cells = new[visible], cells[visible]
        best = np.where(found, best, -1)
        if len(new) == 0:
            return best
        best[new] = len(self._places) + np.arange(len(new))
        witness = self._witnesses(image, box[new])
        begun = Places.begin(time_s, box[new], cells, witness, cells_of(image, witness))
        self._places = self._places.append(begun)
        if len(self._places) > _MOST_PLACES:
            self._places.seen_s[best[best >= 0]] = time_s
            known = np.isfinite(self._places.thing).all(axis=(1, 2))
            kept = np.sort(np.lexsort((-self._places.seen_s, ~known))[:_MOST_PLACES])
            new_row = np.full(len(self._places), -1)
            new_row[kept] = np.arange(len(kept))
            self._places = self._places.select(kept)
            best = np.where(best >= 0, new_row[best], -1)
        return best

    def _witnesses(self, image: Image, box: FloatArray) -> FloatArray:
        """Return (N, 4) boxes of the same sizes, spread over the picture."""
        size = box[:, 2:] - box[:, :2]
        number = self._witnessed + 1 + np.arange(len(box))
        self._witnessed += len(box)
        room = np.maximum([image.shape[1], image.shape[0]] - size, 0.0)
        low = (number[:, None] * _SPREAD) % 1.0 * room
        return np.hstack([low, low + size])

    def _noise_floor(self, time_s: float, image: Image, rows: IntArray, step_s: FloatArray) -> float:
        """Look at the witnesses of some places; returns the grey levels that noise may change a block by."""
        places = self._places
        every = np.ones((len(rows), ROWS, COLUMNS), np.bool_)
        cells = cells_of(image, places.witness[rows])
        places.witness_now[rows] = moved(places.witness_now[rows], cells, every, 1 - np.exp(-step_s / _AVERAGE_S))
        now, before = places.witness_now[rows], places.witness_before[rows]
        changed = np.sqrt(np.median(by_blocks(change_of(before, now, every)), axis=(1, 2)))
        places.witness_before[rows] = moved(before, now, every, 1 - np.exp(-step_s / _DAYLIGHT_S))
        changed = changed[time_s - places.begun_s[rows] >= _FIRST_S]
        if len(changed):
            self._noise += _NOISE_STEP * float(np.sign(np.median(changed) - self._noise))
        return max(FLOOR, NOISE_FACTOR * self._noise)

    def _look(self, time_s: float, image: Image, rows: IntArray, walkers: FloatArray) -> None:
        """Compare the picture in some places with what it was, leaving out what walkers cover."""
        places = self._places
        step_s = time_s - places.looked_s[rows]
        places.looked_s[rows] = time_s
        floor = self._noise_floor(time_s, image, rows, step_s)
        open_cells = np.array([~covered_cells(places.box[row], walkers) for row in rows])
        clear = open_cells.mean(axis=(1, 2)) >= 1 - _MOST_COVERED
        # Where nothing can be said the clock stands still.
        places.since_s[rows[~clear]] += step_s[~clear]
        cells = cells_of(image, places.box[rows])
        clear &= np.isfinite(cells).all(axis=(1, 2))
        rows, cells, open_cells, step_s = rows[clear], cells[clear], open_cells[clear], step_s[clear]
        places.now[rows] = moved(places.now[rows], cells, open_cells, 1 - np.exp(-step_s / _AVERAGE_S))
        daylight = 1 - np.exp(-step_s / _DAYLIGHT_S)
        again = is_same(places.thing[rows], places.now[rows], open_cells, _KNOWN * floor, _KNOWN)
        same = is_same(places.unchanged[rows], places.now[rows], open_cells, floor)
        places.thing[rows] = moved(places.thing[rows], places.now[rows], open_cells & again[:, None, None], daylight)
        been_s = time_s - places.since_s[rows]
        fresh = been_s <= _FIRST_S
        newest = np.where(fresh[:, None, None], cells, places.now[rows])
        gain = np.where(fresh, step_s / np.maximum(been_s + step_s, 1e-9), daylight)
        followed = moved(places.unchanged[rows], newest, open_cells, gain)
        places.unchanged[rows] = np.where(same[:, None, None], followed, places.now[rows])
        places.since_s[rows[~same]] = time_s
        ripe = same & (been_s >= self.config.after_s) & ~again
        self.found += int((ripe & np.isnan(places.thing[rows]).any(axis=(1, 2))).sum())
        places.thing[rows[ripe]] = places.unchanged[rows[ripe]]
        places.is_thing[rows] = again | ripe

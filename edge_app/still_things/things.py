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
    cells_of,
    change_of,
    changed,
    covered_cells,
    limits_of,
    moved,
)
from edge_app.still_things.places import Places
from edge_app.still_things.stays import Stays

# A picture each quarter of a second, and averages over about this long: noise goes, sway stays.
_LOOK_S = 0.25
_AVERAGE_S = 0.6
# What was known as a thing and changed is one again when it looks as before, but for this many times more than what a
# person would change: shadows, and people behind it. One that is a thing now may change by even more before it is in
# doubt: who passes in front, and a person who moves, change it five to thirty times more (the lower quartile and the
# upper end of people at a table, 4 s apart, and of passers; the one-by-one demonstration video).
_KNOWN, _IN_DOUBT = 2.0, 4.0
# The picture's noise is measured elsewhere in it: steps of an even spread (the golden ratio's, in two dimensions).
_SPREAD = (0.7549, 0.5698)
# Its measure follows by this much a look, up or down, so that somebody who passes there is soon forgotten.
_NOISE_STEP = 0.05
# What is remembered is the mean of the first moments; while nothing changes it then follows the daylight this slowly.
_FIRST_S = 2.0
_DAYLIGHT_S = 3.0
_SAME_PLACE_IOU = 0.5
# Nobody who passes in front of a thing stays there for so long, and it is one until something does.
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
        things_now: how many tracks are known things in the newest frame.
        doubtful: ids of tracks in the newest frame that have not moved nor changed yet, where no thing is known.
    """

    config: StillThingsConfig
    found: int = 0
    things_now: int = 0
    doubtful: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    _witnessed: int = 0
    _noise: float = 0.0
    _ended: int = 0
    _now: set[int] = field(default_factory=set)
    _places: Places = field(default_factory=Places.none)
    _stays: Stays = field(default_factory=Stays)
    # Since when tracks have been where a known thing is.
    _resting: dict[int, float] = field(default_factory=dict)

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
        walks = self._stays.follow(time_s, tracks)
        for row in self._settled(time_s, tracks):
            self._stays.begin_again(int(tracks.id[row]), tracks.foot[row])
            walks[row] = False
        self._ended += len(self._now.difference(tracks.id.tolist()))
        stays = np.flatnonzero(~walks)
        place = self._places_of(time_s, image, tracks.bbox[stays].astype(np.float64))
        known = place >= 0
        unseen = tracks.id[stays[~known]]
        stays, place = stays[known], place[known]
        self._places.seen_s[place] = time_s
        due = np.unique(place[time_s - self._places.looked_s[place] >= _LOOK_S])
        if len(due):
            self._look(time_s, image, due, tracks.bbox[walks].astype(np.float64))
        since_s, changed_s = self._places.since_s[place], self._places.changed_s[place]
        still = np.zeros(len(tracks), np.bool_)
        # Of a track that appeared when nothing could be said of its place nothing is said either.
        told = self._places.told_s[place] >= self._stays.began_s(tracks.id[stays])
        known_thing = self._places.is_thing[place] & told
        unmoved, too_long = self._stays.unproven(tracks.id[stays], changed_s, time_s - since_s)
        still[stays] = known_thing | (too_long & told)
        self.things_now = int(known_thing.sum())
        unseen = unseen[~self._stays.are_alive(unseen)]
        self.doubtful = np.concatenate([unseen, tracks.id[stays[unmoved & ~known_thing]]])
        self._now = set(tracks.id[still].tolist())
        return still

    def forget(self) -> None:
        """Begin anew: the picture shows another place."""
        self._ended += len(self._now)
        self._now.clear()
        self.things_now = 0
        self._places = Places.none()
        self._stays.clear()
        self._resting.clear()

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        places = {name: value.tolist() for name, value in vars(self._places).items()}
        resting = [[track, since_s] for track, since_s in self._resting.items()]
        counts = {"now": sorted(self._now), "tracks": self.tracks, "found": self.found, "witnessed": self._witnessed}
        noise = {"noise": self._noise}
        return {"places": places, "stays": self._stays.state(), "resting": resting, **counts, **noise}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        empty = Places.none()
        self._places = Places(
            *(
                np.array(state["places"][name], value.dtype).reshape(-1, *value.shape[1:])
                for name, value in vars(empty).items()
            )
        )
        self._stays.restore(state["stays"])
        self._resting = {row[0]: row[1] for row in state["resting"]}
        self._now, self.found, self._witnessed = set(state["now"]), state["found"], state["witnessed"]
        self._noise = state["noise"]
        self._ended = state["tracks"] - len(self._now)

    def _settled(self, time_s: float, tracks: Tracks) -> list[int]:
        """Return the rows of tracks that came to rest on a known thing: a passer may have led them astray."""
        known = np.isfinite(self._places.thing[:, 0, 0])
        if not known.any():
            self._resting.clear()
            return []
        iou = iou_matrix(tracks.bbox.astype(np.float64), self._places.box[known])
        rows = np.flatnonzero((iou >= _SAME_PLACE_IOU).any(axis=1)).tolist()
        resting = {int(tracks.id[row]): row for row in rows}
        self._resting = {track: self._resting.get(track, time_s) for track in resting}
        return [
            resting[track]
            for track, since_s in self._resting.items()
            if self._stays[track].has_left and time_s - since_s >= _SETTLE_S
        ]

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
            known = np.isfinite(self._places.thing[:, 0, 0])
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
        changed = np.sqrt(_medians(change_of(before, now, every)))
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
        if len(rows) == 0:
            return
        places.now[rows] = moved(places.now[rows], cells, open_cells, 1 - np.exp(-step_s / _AVERAGE_S))
        limit, told = limits_of(places.now[rows], open_cells, floor)
        places.since_s[rows[~told]] += step_s[~told]
        self._judge(time_s, rows[told], cells[told], open_cells[told], step_s[told], limit[told])

    def _judge(
        self,
        time_s: float,
        rows: IntArray,
        cells: FloatArray,
        open_cells: BoolArray,
        step_s: FloatArray,
        limit: FloatArray,
    ) -> None:
        """Compare what is seen in some places with what was there."""
        places = self._places
        places.told_s[rows] = time_s
        daylight = 1 - np.exp(-step_s / _DAYLIGHT_S)
        factor = changed(places.thing[rows], places.now[rows], open_cells, limit)
        again = factor <= np.where(places.is_thing[rows], _IN_DOUBT, _KNOWN)
        same = changed(places.unchanged[rows], places.now[rows], open_cells, limit) <= 1.0
        places.thing[rows] = moved(places.thing[rows], places.now[rows], open_cells & again[:, None, None], daylight)
        been_s = time_s - places.since_s[rows]
        fresh = been_s <= _FIRST_S
        newest = np.where(fresh[:, None, None], cells, places.now[rows])
        gain = np.where(fresh, step_s / np.maximum(been_s + step_s, 1e-9), daylight)
        followed = moved(places.unchanged[rows], newest, open_cells, gain)
        places.unchanged[rows] = np.where(same[:, None, None], followed, places.now[rows])
        places.since_s[rows[~same]] = places.changed_s[rows[~same]] = time_s
        ripe = same & (been_s >= self.config.after_s) & ~again
        self.found += int((ripe & np.isnan(places.thing[rows, 0, 0])).sum())
        places.thing[rows[ripe]] = places.unchanged[rows[ripe]]
        places.known_s[rows[again | ripe]] = time_s
        places.is_thing[rows] = time_s - places.known_s[rows] < _SETTLE_S


def _medians(values: FloatArray) -> FloatArray:
    """Return the (P,) medians of (P, an even number) values, in a tenth of the time that ``np.median`` takes."""
    middle = values.shape[1] // 2
    ordered = np.sort(values, axis=1)
    medians: FloatArray = (ordered[:, middle - 1] + ordered[:, middle]) / 2
    return medians

"""What is taken for a person and never moves: furniture, tripods, lamp posts, statues.

A detector that sees a person in a thing sees it for as long as the thing stands there. What tells it from a person is
time: people who stand still sway by centimetres, shift their weight and turn their heads, a thing does none of it. So a
track is a thing if it has never left its place since it appeared, and the picture inside its box has not changed for
some seconds by more than a small part of what the sway of a person would change. Where the picture is too dark or too
plain to tell, it stays a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from edge_app.config_section import Section
from edge_app.records import BoolArray, FloatArray, Image, IntArray, Tracks

# Cells into which a box is averaged: ten centimetres of a person each, and much less noise than in a pixel.
_ROWS, _COLUMNS = 16, 8
# Cells are judged in blocks of so many rows and columns: a head that turns changes little of the whole.
_BLOCK = 4
# A sway of one centimetre is a tenth of a cell; what is behind does not sway, light may explain a part, and that leaves
# this of the contrast between neighbouring cells. Five people who stood at a table (75 s of the one-by-one
# demonstration video) never went seven seconds without more change than that, a drawn figure that sways by 1 cm never
# five. The table itself did not change, noise and JPEG are no change, nor are clouds that darken the sunlit half by a
# tenth within half a minute.
_SWAY = 0.03
# Grey levels that compression and noise at least leave in an averaged cell. With less contrast than this between cells
# even a sway of two centimetres would drown in them: nothing can be said.
_FLOOR = 0.7
_LEAST_CONTRAST = 10.0
# A picture each quarter of a second, and averages over about this long: noise goes, sway stays.
_LOOK_S = 0.25
_AVERAGE_S = 0.6
# The picture's own noise is measured elsewhere in it, and blocks may change by so many times that; with more noise than
# the second figure nothing can be said.
_NOISE_FACTOR, _MOST_NOISE = 2.0, 1.5
# What is known as a thing may change by this many times more, shadows and people behind it: a person who stood there
# instead, or began to move, would change it by far more.
_KNOWN = 2.0
# Its measure follows by this much a look, up or down, so that somebody who passes there is soon forgotten.
_NOISE_STEP = 0.05
# Where it is measured: steps of an even spread over the picture (the golden ratio's, in two dimensions).
_SPREAD = (0.7549, 0.5698)
# Light makes a block brighter or darker by a factor within these.
_FACTOR = (0.5, 2.0)
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
# A block that is covered by more than this is left out.
_LEAST_OPEN = 0.5
# Places that are remembered; those without a thing, and not seen for the longest time, are forgotten first.
_MOST_PLACES = 64


class StillThingsConfig(Section):
    """What never moves is not a person."""

    enabled: bool = Field(
        True, description="leave out what is taken for a person but never moves nor changes (fixed cameras)"
    )
    after_s: float = Field(
        12.0, ge=2, le=3600, description="seconds without the slightest change after which something is a thing"
    )


@dataclass
class _Places:
    """P boxes in which something was taken for a person, and what the picture there looks like.

    Attributes:
        box: (P, 4) pixels.
        now: (P, rows, columns) grey levels, averaged over the last moments.
        unchanged: (P, rows, columns) what it has looked like since ``since_s``, (P,).
        thing: (P, rows, columns) what it looked like when it was found to be a thing; NaN before.
        seen_s, looked_s: (P,) when a track was there last, and when the picture was looked at last.
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
    is_thing: BoolArray
    witness: FloatArray
    witness_now: FloatArray
    witness_before: FloatArray
    begun_s: FloatArray

    def __len__(self) -> int:
        return len(self.is_thing)

    @staticmethod
    def none() -> _Places:
        nowhere, nothing = np.zeros((0, 4)), np.zeros((0, _ROWS, _COLUMNS))
        return _Places.begin(0.0, nowhere, nothing, nowhere, nothing)

    @staticmethod
    def begin(
        time_s: float, box: FloatArray, cells: FloatArray, witness: FloatArray, witness_cells: FloatArray
    ) -> _Places:
        times = np.full(len(box), time_s)
        return _Places(
            box=box,
            now=cells,
            unchanged=cells.copy(),
            thing=np.full_like(cells, np.nan),
            since_s=times,
            seen_s=times.copy(),
            looked_s=times.copy(),
            is_thing=np.zeros(len(box), np.bool_),
            witness=witness,
            witness_now=witness_cells,
            witness_before=witness_cells.copy(),
            begun_s=times.copy(),
        )

    def select(self, rows: IntArray) -> _Places:
        return _Places(*(value[rows] for value in vars(self).values()))

    def append(self, other: _Places) -> _Places:
        return _Places(*(np.concatenate(both) for both in zip(vars(self).values(), vars(other).values())))


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
    _places: _Places = field(default_factory=_Places.none)
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
        self._places = _Places.none()
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
        empty = _Places.none()
        self._places = _Places(
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
        iou = _overlaps(tracks.bbox.astype(np.float64), self._places.box[known])
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
            iou = _overlaps(box, self._places.box)
            best = iou.argmax(axis=1)
            found = iou.max(axis=1) >= _SAME_PLACE_IOU
        new = np.flatnonzero(~found)
        cells = _cells(image, box[new])
        visible = np.isfinite(cells).all(axis=(1, 2))
        new, cells = new[visible], cells[visible]
        best = np.where(found, best, -1)
        if len(new) == 0:
            return best
        best[new] = len(self._places) + np.arange(len(new))
        witness = self._witnesses(image, box[new])
        begun = _Places.begin(time_s, box[new], cells, witness, _cells(image, witness))
        self._places = self._places.append(begun)
        if len(self._places) > _MOST_PLACES:
            self._places.seen_s[best[best >= 0]] = time_s
            known = np.isfinite(self._places.thing).all(axis=(1, 2))
            kept = np.sort(np.lexsort((-self._places.seen_s, ~known))[:_MOST_PLACES])
            moved = np.full(len(self._places), -1)
            moved[kept] = np.arange(len(kept))
            self._places = self._places.select(kept)
            best = np.where(best >= 0, moved[best], -1)
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
        every = np.ones((len(rows), _ROWS, _COLUMNS), np.bool_)
        cells = _cells(image, places.witness[rows])
        places.witness_now[rows] = _moved(places.witness_now[rows], cells, every, 1 - np.exp(-step_s / _AVERAGE_S))
        now, before = places.witness_now[rows], places.witness_before[rows]
        changed = np.sqrt(np.median(_by_blocks(_change(before, now, every)), axis=(1, 2)))
        places.witness_before[rows] = _moved(before, now, every, 1 - np.exp(-step_s / _DAYLIGHT_S))
        changed = changed[time_s - places.begun_s[rows] >= _FIRST_S]
        if len(changed):
            self._noise += _NOISE_STEP * float(np.sign(np.median(changed) - self._noise))
        return max(_FLOOR, _NOISE_FACTOR * self._noise)

    def _look(self, time_s: float, image: Image, rows: IntArray, walkers: FloatArray) -> None:
        """Compare the picture in some places with what it was, leaving out what walkers cover."""
        places = self._places
        step_s = time_s - places.looked_s[rows]
        places.looked_s[rows] = time_s
        floor = self._noise_floor(time_s, image, rows, step_s)
        open_cells = np.array([~_covered(places.box[row], walkers) for row in rows])
        clear = open_cells.mean(axis=(1, 2)) >= 1 - _MOST_COVERED
        # Where nothing can be said the clock stands still.
        places.since_s[rows[~clear]] += step_s[~clear]
        cells = _cells(image, places.box[rows])
        clear &= np.isfinite(cells).all(axis=(1, 2))
        rows, cells, open_cells, step_s = rows[clear], cells[clear], open_cells[clear], step_s[clear]
        places.now[rows] = _moved(places.now[rows], cells, open_cells, 1 - np.exp(-step_s / _AVERAGE_S))
        daylight = 1 - np.exp(-step_s / _DAYLIGHT_S)
        again = is_same(places.thing[rows], places.now[rows], open_cells, _KNOWN * floor, _KNOWN)
        same = is_same(places.unchanged[rows], places.now[rows], open_cells, floor)
        places.thing[rows] = _moved(places.thing[rows], places.now[rows], open_cells & again[:, None, None], daylight)
        been_s = time_s - places.since_s[rows]
        fresh = been_s <= _FIRST_S
        newest = np.where(fresh[:, None, None], cells, places.now[rows])
        gain = np.where(fresh, step_s / np.maximum(been_s + step_s, 1e-9), daylight)
        followed = _moved(places.unchanged[rows], newest, open_cells, gain)
        places.unchanged[rows] = np.where(same[:, None, None], followed, places.now[rows])
        places.since_s[rows[~same]] = time_s
        ripe = same & (been_s >= self.config.after_s) & ~again
        self.found += int((ripe & np.isnan(places.thing[rows]).any(axis=(1, 2))).sum())
        places.thing[rows[ripe]] = places.unchanged[rows[ripe]]
        places.is_thing[rows] = again | ripe


def is_same(
    before: FloatArray, now: FloatArray, open_cells: BoolArray, floor: float = _FLOOR, slack: float = 1.0
) -> BoolArray:
    """Tell whether two looks at each of P boxes show the same to well within the sway of a person.

    Args:
        before: (P, rows, columns) grey levels; NaN is not the same as anything.
        now: of the same boxes.
        open_cells: (P, rows, columns) bool, cells to compare.
        floor: grey levels by which noise may change a block.
        slack: factor on what else may change.

    Returns:
        (P,) bool, False too where there is too little contrast to tell.
    """
    share = open_cells / np.maximum(open_cells.sum(axis=(1, 2), keepdims=True), 1)
    weight = _by_blocks(open_cells.astype(np.float64))
    change = _change(before, now, open_cells)
    down, right = np.gradient(now, axis=(1, 2))
    contrast = down * down + right * right
    # The more noise, the more contrast is needed before a sway would rise above it.
    least = _LEAST_CONTRAST * floor / (slack * _FLOOR)
    enough = (share * contrast).sum(axis=(1, 2)) >= least**2
    changed, textured = _by_blocks(open_cells * change), _by_blocks(open_cells * contrast)
    limit = np.maximum(floor**2 * weight, (slack * _SWAY) ** 2 * textured)
    quiet = (changed <= limit) | (weight < _LEAST_OPEN)
    result: BoolArray = enough & quiet.all(axis=(1, 2)) & (floor <= slack * _NOISE_FACTOR * _MOST_NOISE)
    return result


def _change(before: FloatArray, now: FloatArray, open_cells: BoolArray) -> FloatArray:
    """Return the (P, rows, columns) squared change of cells that light does not explain.

    Light changes the cells of a block together, brighter by a factor and a constant; sun and shade each in their way.
    """
    weight = _by_blocks(open_cells.astype(np.float64))
    part = open_cells / np.maximum(_to_cells(weight), 1e-9)
    was = before - _to_cells(_by_blocks(part * before))
    seen = now - _to_cells(_by_blocks(part * now))
    factor = _by_blocks(part * was * seen) / np.maximum(_by_blocks(part * was * was), 1e-9)
    change: FloatArray = (seen - _to_cells(np.clip(factor, *_FACTOR)) * was) ** 2
    return change


def _moved(before: FloatArray, now: FloatArray, open_cells: BoolArray, gain: FloatArray) -> FloatArray:
    """Return (P, rows, columns) what is remembered of P places, moved a part ``gain``, (P,), towards what is seen."""
    return np.where(open_cells, before + gain[:, None, None] * (now - before), before)


def _cells(image: Image, box: FloatArray) -> FloatArray:
    """Return the (P, rows, columns) mean grey levels of boxes; NaN where too little of one lies in the picture."""
    height, width = image.shape[:2]
    cells = np.full((len(box), _ROWS, _COLUMNS), np.nan)
    low = np.maximum(np.round(box[:, :2]), 0).astype(np.int64).tolist()
    high = np.minimum(np.round(box[:, 2:]), [width, height]).astype(np.int64).tolist()
    for row, ((left, top), (right, bottom)) in enumerate(zip(low, high)):
        if right - left >= _COLUMNS // 2 and bottom - top >= _ROWS // 2:
            few = cv2.resize(image[top:bottom, left:right], (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
            cells[row] = few.mean(axis=2)
    return cells


def _to_cells(blocks: FloatArray) -> FloatArray:
    """Return (P, rows, columns) cells that have the values of their blocks."""
    return np.repeat(np.repeat(blocks, _BLOCK, axis=1), _BLOCK, axis=2)


def _by_blocks(cells: FloatArray) -> FloatArray:
    """Return the (P, rows, columns) means of blocks of cells."""
    blocks = cells.reshape(len(cells), _ROWS // _BLOCK, _BLOCK, _COLUMNS // _BLOCK, _BLOCK)
    means: FloatArray = blocks.mean(axis=(2, 4))
    return means


def _covered(box: FloatArray, walkers: FloatArray) -> BoolArray:
    """Return which cells of a (4,) box are covered by people who walk, (M, 4) boxes."""
    covered = np.zeros((_ROWS, _COLUMNS), np.bool_)
    near = (walkers[:, :2] < box[2:]).all(axis=1) & (walkers[:, 2:] > box[:2]).all(axis=1)
    cell = np.maximum(box[2:] - box[:2], 1e-6) / [_COLUMNS, _ROWS]
    low = np.maximum(np.floor((walkers[near, :2] - box[:2]) / cell), 0).astype(np.int64)
    high = np.maximum(np.ceil((walkers[near, 2:] - box[:2]) / cell), 0).astype(np.int64)
    for (left, top), (right, bottom) in zip(low.tolist(), high.tolist()):
        covered[top:bottom, left:right] = True
    return covered


def _overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the (N, M) IoU of (N, 4) boxes with (M, 4) others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    area_of_others = np.prod(others[:, 2:] - others[:, :2], axis=1)
    iou: FloatArray = shared / np.maximum(area[:, None] + area_of_others[None] - shared, 1e-9)
    return iou

"""What is taken for a person and never moves: furniture, tripods, lamp posts, statues.

A detector that sees a person in a thing sees it for as long as the thing stands there. What tells it from a person is
time: people who stand still sway by centimetres, shift their weight and turn their heads, a thing does none of it. So a
track is a thing if it has never left its place since it appeared, and the picture inside its box has not changed for
some seconds by more than a small part of what the sway of a person would change. Where the picture is too dark or too
plain to tell, it stays a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

import cv2
import numpy as np
from pydantic import Field

from edge_app.config_section import Section
from edge_app.records import BoolArray, BoxArray, FloatArray, Image, Tracks

# Cells into which a box is averaged: ten centimetres of a person each, and much less noise than in a pixel.
_ROWS, _COLUMNS = 16, 8
# Cells are judged in blocks of so many rows and columns: a head that turns changes little of the whole.
_BLOCK = 4
# A sway of one centimetre is a tenth of a cell; what is behind does not sway, which leaves this part of the contrast
# between neighbouring cells. Five people who stood at a table (75 s of the one-by-one demonstration video, at sizes of
# 300 to 35 pixels) never went three seconds without more change than that; a drawn figure that sways by 1 cm never
# seven. The table itself did not change, with noise of 8 grey levels and coarse JPEG neither.
_SWAY = 0.04
# Grey levels that compression and noise leave in an averaged cell. With less contrast than this between cells even a
# sway of two centimetres would drown in them: nothing can be said.
_FLOOR = 0.8
_LEAST_CONTRAST = 10.0
# A picture each quarter of a second, and averages over about this long: noise goes, sway stays.
_LOOK_S = 0.25
_AVERAGE_S = 0.6
# What is remembered is the mean of the first moments; while nothing changes it then follows the daylight this slowly.
_FIRST_S = 2.0
_DAYLIGHT_S = 30.0
# Whoever went so far from where the track began, in parts of the height, is a person.
_LEFT_PLACE = 0.5
_SAME_PLACE_IOU = 0.5
# Where others cover more than this part of the box nothing can be said.
_MOST_COVERED = 0.5
# Things that are remembered, of which those not seen for the longest time are forgotten.
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
class _Place:
    """A box in which something was taken for a person, and what the picture there looks like.

    Attributes:
        box: (4,) pixels.
        now: (rows, columns) grey levels, averaged over the last moments.
        unchanged: what it has looked like since ``since_s``.
        thing: what it looked like when it was found to be a thing; None before.
        seen_s: when a track was there last.
        looked_s: when the picture was looked at last.
        is_thing: nothing has changed for long enough.
    """

    box: FloatArray
    now: FloatArray
    unchanged: FloatArray
    since_s: float
    seen_s: float
    looked_s: float
    thing: Optional[FloatArray] = None
    is_thing: bool = False


@dataclass
class StillThings:
    """Tells things from people, track by track.

    Attributes:
        config: how long nothing must change.
        found: how many things there have been, so far.
    """

    config: StillThingsConfig
    found: int = 0
    _ended: int = 0
    _now: set[int] = field(default_factory=set)
    _places: list[_Place] = field(default_factory=list)
    # Where each track began: foot x, foot y, pixels, and whether it has left that place.
    _began: dict[int, tuple[float, float, bool]] = field(default_factory=dict)

    @property
    def things_now(self) -> int:
        """Number of tracks that are things in the newest frame."""
        return len(self._now)

    @property
    def tracks(self) -> int:
        """Number of tracks, so far, that are things or were to their end."""
        return self._ended + len(self._now)

    def update(self, time_s: float, image: Image, tracks: Tracks, others: BoxArray) -> BoolArray:
        """Tell which tracks are things.

        Args:
            time_s: frame time.
            image: (H, W, 3) BGR, of this frame.
            tracks: N tracks.
            others: (M, 4) everything that was detected; what covers a thing, as walkers do, does not change it.

        Returns:
            (N,) bool.
        """
        self._began = {int(track): self._beginning(tracks, row) for row, track in enumerate(tracks.id)}
        self._ended += len(self._now - self._began.keys())
        still = np.zeros(len(tracks), np.bool_)
        walks = np.array([has_left for _, _, has_left in self._began.values()], np.bool_)
        walkers, rest = tracks.bbox[walks], np.concatenate([tracks.bbox[~walks], others])
        for row, track in enumerate(tracks.id.tolist()):
            if self._began[track][2]:
                continue
            place = self._place_of(tracks.bbox[row])
            if place is None:
                place = self._remember(time_s, image, tracks.bbox[row])
            elif time_s - place.looked_s >= _LOOK_S:
                self._look(time_s, image, place, _covered(place.box, walkers, rest))
            if place is not None:
                place.seen_s = time_s
                still[row] = place.is_thing
        self._now = set(tracks.id[still].tolist())
        return still

    def forget(self) -> None:
        """Begin anew: the picture shows another place."""
        self._ended += len(self._now)
        self._now.clear()
        self._places.clear()
        self._began.clear()

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        places = [
            {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(place).items()}
            for place in self._places
        ]
        began = [[track, *where] for track, where in self._began.items()]
        return {"places": places, "began": began, "now": sorted(self._now), "tracks": self.tracks, "found": self.found}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._places = [
            _Place(**{name: np.array(value) if isinstance(value, list) else value for name, value in place.items()})
            for place in state["places"]
        ]
        self._began = {row[0]: (row[1], row[2], row[3]) for row in state["began"]}
        self._now, self.found = set(state["now"]), state["found"]
        self._ended = state["tracks"] - len(self._now)

    def _beginning(self, tracks: Tracks, row: int) -> tuple[float, float, bool]:
        x, y = tracks.foot[row].tolist()
        began_x, began_y, has_left = self._began.get(int(tracks.id[row]), (x, y, False))
        height = float(tracks.bbox[row, 3] - tracks.bbox[row, 1])
        return began_x, began_y, has_left or float(np.hypot(x - began_x, y - began_y)) > _LEFT_PLACE * height

    def _place_of(self, bbox: BoxArray) -> Optional[_Place]:
        if not self._places:
            return None
        iou = _overlaps(bbox.astype(np.float64), np.array([place.box for place in self._places]))
        best = int(iou.argmax())
        return self._places[best] if iou[best] >= _SAME_PLACE_IOU else None

    def _remember(self, time_s: float, image: Image, bbox: BoxArray) -> Optional[_Place]:
        box = bbox.astype(np.float64)
        cells = _cells(image, box)
        if cells is None:
            return None
        if len(self._places) >= _MOST_PLACES:
            self._places.remove(min(self._places, key=lambda place: place.seen_s))
        place = _Place(box, cells, cells, time_s, time_s, time_s)
        self._places.append(place)
        return place

    def _look(self, time_s: float, image: Image, place: _Place, covered: BoolArray) -> None:
        """Compare the picture with what it was, leaving out what others cover."""
        cells = _cells(image, place.box)
        if cells is None:
            return
        step_s = time_s - place.looked_s
        place.looked_s = time_s
        open_cells = ~covered
        if open_cells.mean() < 1 - _MOST_COVERED:
            # Nothing can be said; the clock stands still.
            place.since_s += step_s
            return
        gain = 1 - np.exp(-step_s / _AVERAGE_S)
        place.now = np.where(open_cells, place.now + gain * (cells - place.now), place.now)
        if place.thing is not None and is_same(place.thing, place.now, open_cells):
            place.is_thing = True
            place.thing = _followed(place.thing, place.now, open_cells, step_s, _DAYLIGHT_S)
            return
        place.is_thing = False
        if not is_same(place.unchanged, place.now, open_cells):
            place.unchanged, place.since_s = place.now, time_s
            return
        been_s = time_s - place.since_s
        place.unchanged = _followed(
            place.unchanged, cells if been_s <= _FIRST_S else place.now, open_cells, step_s, been_s
        )
        if been_s >= self.config.after_s:
            self.found += place.thing is None
            place.is_thing, place.thing = True, place.unchanged


def is_same(before: FloatArray, now: FloatArray, open_cells: BoolArray) -> bool:
    """Tell whether two looks at a box show the same to well within the sway of a person.

    Args:
        before: (rows, columns) grey levels.
        now: of the same box.
        open_cells: (rows, columns) bool, cells to compare.

    Returns:
        False too where there is too little contrast to tell.
    """
    light, seen = before[open_cells], now[open_cells]
    # Light changes all cells together: brighter by a factor and a constant.
    deviation = light - light.mean()
    factor = float(deviation @ (seen - seen.mean())) / max(float(deviation @ deviation), 1e-9)
    change = now - seen.mean() - factor * (before - light.mean())
    contrast = _contrast(before) * max(abs(factor), 1e-9)
    if np.sqrt((contrast[open_cells] ** 2).mean()) < _LEAST_CONTRAST:
        return False
    weight = _by_blocks(open_cells.astype(np.float64))
    judged = weight >= 0.5
    changed = np.sqrt(_by_blocks(np.where(open_cells, change, 0.0) ** 2)[judged] / weight[judged])
    textured = np.sqrt(_by_blocks(np.where(open_cells, contrast, 0.0) ** 2)[judged] / weight[judged])
    return bool((changed <= np.maximum(_FLOOR, _SWAY * textured)).all())


def _followed(before: FloatArray, now: FloatArray, open_cells: BoolArray, step_s: float, been_s: float) -> FloatArray:
    """Return the memory of a place, that is ``been_s`` old, moved a little towards what it looks like now."""
    gain = step_s / (been_s + step_s) if been_s <= _FIRST_S else 1 - np.exp(-step_s / _DAYLIGHT_S)
    return np.where(open_cells, before + gain * (now - before), before)


def _cells(image: Image, box: FloatArray) -> Optional[FloatArray]:
    """Return the (rows, columns) mean grey levels of a box; None where too little of it lies in the picture."""
    height, width = image.shape[:2]
    left, top = np.maximum(np.round(box[:2]).astype(int), 0).tolist()
    right, bottom = np.minimum(np.round(box[2:]).astype(int), [width, height]).tolist()
    if right - left < _COLUMNS // 2 or bottom - top < _ROWS // 2:
        return None
    cells = cv2.resize(image[top:bottom, left:right], (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    return cells.astype(np.float64).mean(axis=2)


def _contrast(cells: FloatArray) -> FloatArray:
    """Return how much the grey level changes from cell to cell, at each cell."""
    down, right = np.gradient(cells)
    strength: FloatArray = np.hypot(down, right)
    return strength


def _by_blocks(cells: FloatArray) -> FloatArray:
    blocks: FloatArray = cells.reshape(_ROWS // _BLOCK, _BLOCK, _COLUMNS // _BLOCK, _BLOCK).mean(axis=(1, 3))
    return blocks


def _covered(box: FloatArray, walkers: BoxArray, rest: BoxArray) -> BoolArray:
    """Return which cells of a box are covered by people who walk, or by boxes that do not show the same as it.

    Args:
        box: (4,) pixels.
        walkers, rest: (M, 4) and (K, 4) pixels.
    """
    covered = np.zeros((_ROWS, _COLUMNS), np.bool_)
    rest = rest[_overlaps(box, rest.astype(np.float64)) < _SAME_PLACE_IOU]
    others = np.concatenate([walkers, rest]).astype(np.float64)
    near = (others[:, :2] < box[2:]).all(axis=1) & (others[:, 2:] > box[:2]).all(axis=1)
    cell = np.maximum(box[2:] - box[:2], 1e-6) / [_COLUMNS, _ROWS]
    low = np.maximum(np.floor((others[near, :2] - box[:2]) / cell), 0).astype(np.int64)
    high = np.maximum(np.ceil((others[near, 2:] - box[:2]) / cell), 0).astype(np.int64)
    for (left, top), (right, bottom) in zip(low.tolist(), high.tolist()):
        covered[top:bottom, left:right] = True
    return covered


def _overlaps(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Return the (M,) IoU of one box with (M, 4) others."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    area = float(np.prod(box[2:] - box[:2]))
    iou: FloatArray = shared / np.maximum(area + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared, 1e-9)
    return iou

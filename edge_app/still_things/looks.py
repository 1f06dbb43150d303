"""Looks at boxes of the picture as a few grey cells, and whether two looks show the same."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.records import BoolArray, FloatArray, Image

# Cells into which a box is averaged: ten centimetres of a person each, and much less noise than in a pixel.
ROWS, COLUMNS = 16, 8
# Cells are judged in blocks of so many rows and columns: a head that turns changes little of the whole.
_BLOCK = 4
# A sway of one centimetre is a tenth of a cell; what is behind does not sway, light may explain a part, and that leaves
# this of the contrast between neighbouring cells. Five people who stood at a table (75 s of the one-by-one
# demonstration video) and a drawn figure that sways by 1 cm change more; the table itself did not change, noise and
# JPEG are no change, nor are clouds that darken the sunlit half by a tenth within half a minute.
_SWAY = 0.03
# Grey levels that compression and noise at least leave in an averaged cell. With less contrast than this between cells
# even a sway of two centimetres would drown in them: nothing can be said.
FLOOR = 0.7
_LEAST_CONTRAST = 10.0
# Blocks may change by so many times the noise of the picture; with more noise than the second nothing can be said.
NOISE_FACTOR, _MOST_NOISE = 2.0, 1.5
# Light makes a block brighter or darker by a factor within these.
_FACTOR = (0.5, 2.0)
# A block that is covered by more than this is left out.
_LEAST_OPEN = 0.5


def limits_of(now: FloatArray, open_cells: BoolArray, floor: float) -> tuple[FloatArray, BoolArray]:
    """Return how much each block of P boxes may change without anybody having moved, and where that can be told.

    Args:
        now: (P, rows, columns) grey levels.
        open_cells: (P, rows, columns) bool, cells to compare.
        floor: grey levels by which noise may change a block.

    Returns:
        (P, blocks) squared grey levels, infinite where a block is covered; and (P,) False where there is too little
        contrast, or too much noise, for the sway of a person to be seen.
    """
    down, right = np.gradient(now, axis=(1, 2))
    contrast = _mean_of_blocks(_in_blocks(open_cells * (down * down + right * right)))
    weight = _mean_of_blocks(_in_blocks(open_cells.astype(np.float64)))
    # The more noise, the more contrast is needed before a sway would rise above it.
    least = (_LEAST_CONTRAST * floor / FLOOR) ** 2
    enough = contrast.sum(axis=1) >= least * np.maximum(weight.sum(axis=1), 1e-9)
    limit = np.maximum(floor**2 * weight, _SWAY**2 * contrast)
    limit[weight < _LEAST_OPEN] = np.inf
    told: BoolArray = enough & (floor <= NOISE_FACTOR * _MOST_NOISE)
    return limit, told


def changed(before: FloatArray, now: FloatArray, open_cells: BoolArray, limit: FloatArray) -> FloatArray:
    """Return how many times more than ``limits_of`` allows the most changed block of each of P boxes changed.

    Args:
        before: (P, rows, columns) grey levels; NaN is not the same as anything.
        now: of the same boxes.
        open_cells: (P, rows, columns) bool, cells to compare.
        limit: of ``limits_of``.

    Returns:
        (P,) factors; up to 1 well within the sway of a person.
    """
    most: FloatArray = np.sqrt((change_of(before, now, open_cells) / limit).max(axis=1))
    return np.where(np.isnan(most), np.inf, most)


def change_of(before: FloatArray, now: FloatArray, open_cells: BoolArray) -> FloatArray:
    """Return the (P, blocks) mean squared change of the cells of each block that light does not explain.

    Light changes the cells of a block together, brighter by a factor and a constant; sun and shade each in their way.
    """
    is_open = _in_blocks(open_cells.astype(np.float64))
    part = is_open / np.maximum(is_open.sum(axis=2, keepdims=True), 1e-9)
    was, seen = _in_blocks(before), _in_blocks(now)
    was = was - (part * was).sum(axis=2, keepdims=True)
    seen = seen - (part * seen).sum(axis=2, keepdims=True)
    varied = part * was
    factor = (varied * seen).sum(axis=2, keepdims=True) / np.maximum((varied * was).sum(axis=2, keepdims=True), 1e-9)
    left = seen - np.clip(factor, *_FACTOR) * was
    return _mean_of_blocks(is_open * left * left)


def moved(before: FloatArray, now: FloatArray, open_cells: BoolArray, gain: FloatArray) -> FloatArray:
    """Return (P, rows, columns) what is remembered of P places, moved a part ``gain``, (P,), towards what is seen."""
    return np.where(open_cells, before + gain[:, None, None] * (now - before), before)


def cells_of(image: Image, box: FloatArray) -> FloatArray:
    """Return the (P, rows, columns) mean grey levels of boxes; NaN where too little of one lies in the picture."""
    height, width = image.shape[:2]
    cells = np.full((len(box), ROWS, COLUMNS), np.nan)
    low = np.maximum(np.round(box[:, :2]), 0).astype(np.int64).tolist()
    high = np.minimum(np.round(box[:, 2:]), [width, height]).astype(np.int64).tolist()
    for row, ((left, top), (right, bottom)) in enumerate(zip(low, high)):
        if right - left >= COLUMNS // 2 and bottom - top >= ROWS // 2:
            few = cv2.resize(image[top:bottom, left:right], (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
            cells[row] = few.sum(axis=2, dtype=np.float64) / few.shape[2]
    return cells


def _in_blocks(cells: FloatArray) -> FloatArray:
    """Return (P, rows, columns) cells in the order (P, blocks, cells of a block)."""
    blocks = cells.reshape(len(cells), ROWS // _BLOCK, _BLOCK, COLUMNS // _BLOCK, _BLOCK).swapaxes(2, 3)
    return blocks.reshape(len(cells), ROWS * COLUMNS // _BLOCK**2, _BLOCK**2)


def _mean_of_blocks(blocks: FloatArray) -> FloatArray:
    mean: FloatArray = blocks.sum(axis=2) / _BLOCK**2
    return mean


def covered_cells(box: FloatArray, walkers: FloatArray) -> BoolArray:
    """Return which cells of a (4,) box are covered by people who walk, (M, 4) boxes."""
    covered = np.zeros((ROWS, COLUMNS), np.bool_)
    near = (walkers[:, :2] < box[2:]).all(axis=1) & (walkers[:, 2:] > box[:2]).all(axis=1)
    cell = np.maximum(box[2:] - box[:2], 1e-6) / [COLUMNS, ROWS]
    low = np.maximum(np.floor((walkers[near, :2] - box[:2]) / cell), 0).astype(np.int64)
    high = np.maximum(np.ceil((walkers[near, 2:] - box[:2]) / cell), 0).astype(np.int64)
    for (left, top), (right, bottom) in zip(low.tolist(), high.tolist()):
        covered[top:bottom, left:right] = True
    return covered

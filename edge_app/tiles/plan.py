"""Where tiles lie: from the calibration, where it knows how tall people are in the picture, else all over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from edge_app.calibration.camera import CameraModel, PinholeCamera
from edge_app.foot_points import BODY_HEIGHT_M
from edge_app.records import FloatArray
from edge_app.tiles.config import TilesConfig

# People shorter than this, in source pixels, can't be found at any resolution.
_SHORTEST_PX = 16.0
# In a tile a person should be this much taller than the least: the least is where finding people becomes hard.
_COMFORT = 1.5
# A person is about this wide to their height, arms and stride included; tiles overlap by that.
_WIDTH_TO_HEIGHT = 0.6
# Tiles of a picture that nothing is known about overlap by this part.
_BLIND_OVERLAP = 0.25
_GROWTH = 1.1
# Room for a box that is drawn a little too large, in parts of the person's height.
_BELOW_FOOT = 0.15
_SLIVER = 0.1


@dataclass(frozen=True)
class Tile:
    """A part of the source picture: left, top, width and height in source pixels."""

    x: int
    y: int
    width: int
    height: int


def plan_tiles(
    image_size: tuple[int, int],
    model_size: tuple[int, int],
    camera: Optional[CameraModel],
    config: TilesConfig,
) -> tuple[Tile, ...]:
    """Lay tiles where people would be too small in the picture as a whole.

    A tile has at least the model's own size, so that nothing is enlarged, and every person whose foot is where the
    picture as a whole is too coarse lies in one of them uncut.

    Args:
        image_size: width and height of the source, pixels.
        model_size: width and height of the model's input, pixels.
        camera: calibration for this size; only a pinhole camera knows heights.
        config: the least height at the input and the most tiles.

    Returns:
        Tiles from near to far, left to right; none where the picture as a whole will do.
    """
    growth = 1.0
    while True:
        if isinstance(camera, PinholeCamera):
            tiles = _by_height(image_size, model_size, camera, config.min_person_px, growth)
        else:
            tiles = _all_over(image_size, model_size, growth)
        if len(tiles) <= config.max_tiles:
            return tiles
        growth *= _GROWTH


def person_heights(camera: PinholeCamera, rows: FloatArray) -> FloatArray:
    """Return how tall, in pixels, people are whose feet are at the given (N,) rows in the picture's middle; or NaN."""
    feet = np.column_stack([np.full(len(rows), camera.image_width / 2), rows])
    ground = camera.image_to_ground(feet)
    heads = camera.world_to_image(np.column_stack([ground, np.full(len(rows), BODY_HEIGHT_M)]))
    return rows - heads[:, 1]


def _by_height(
    image_size: tuple[int, int], model_size: tuple[int, int], camera: PinholeCamera, least_px: float, growth: float
) -> tuple[Tile, ...]:
    width, height = image_size
    rows = np.arange(1.0, height + 1.0)
    tall = person_heights(camera, rows)
    small = np.isfinite(tall) & (tall >= _SHORTEST_PX) & (tall * model_size[1] / height < least_px)
    if not small.any():
        return ()
    rows, tall = rows[small], tall[small]
    heads = rows - tall
    tiles: list[Tile] = []
    # Bands of tiles from the nearest of the small people to the farthest.
    near = len(rows) - 1
    while near >= 0:
        size = max(1.0, tall[near] / (_COMFORT * least_px)) * growth
        bottom = min(height, round(rows[near] + _BELOW_FOOT * tall[near]))
        if 0 < bottom - size * model_size[1] <= _SLIVER * bottom:
            # A little larger, and no band of tiles is needed for the sliver of the picture above.
            size = bottom / model_size[1]
        tile_width, tile_height = min(width, round(size * model_size[0])), min(height, round(size * model_size[1]))
        top = max(0, bottom - tile_height)
        tiles += _row_of_tiles(width, tile_width, top, tile_height, _WIDTH_TO_HEIGHT * float(tall[near]))
        is_left = heads < top
        if size > (1 + _SLIVER) * growth:
            # This band's tiles are larger than the model's input: those who are too small in them get smaller tiles.
            is_left |= tall * model_size[1] / tile_height < least_px
        beyond = np.flatnonzero(is_left & (np.arange(len(rows)) < near))
        if len(beyond) == 0 or (top == 0 and size <= (1 + _SLIVER) * growth):
            break
        near = int(beyond[-1])
    whole = Tile(0, 0, width, height)
    return tuple(tile for tile in tiles if tile != whole)


def _all_over(image_size: tuple[int, int], model_size: tuple[int, int], growth: float) -> tuple[Tile, ...]:
    width, height = image_size
    tile_width, tile_height = min(width, round(growth * model_size[0])), min(height, round(growth * model_size[1]))
    if (tile_width, tile_height) == image_size:
        return ()
    tiles: list[Tile] = []
    for top in _starts(height, tile_height, _BLIND_OVERLAP * tile_height):
        tiles += _row_of_tiles(width, tile_width, top, tile_height, _BLIND_OVERLAP * tile_width)
    return tuple(tiles)


def _row_of_tiles(width: int, tile_width: int, top: int, tile_height: int, overlap_px: float) -> list[Tile]:
    overlap_px = min(overlap_px, 0.5 * tile_width)
    return [Tile(left, top, tile_width, tile_height) for left in _starts(width, tile_width, overlap_px)]


def _starts(length: int, part: int, overlap: float) -> list[int]:
    """Return where parts begin that cover a length evenly and overlap by at least ``overlap``."""
    if part >= length:
        return [0]
    count = int(np.ceil((length - overlap) / (part - overlap)))
    return [round(start) for start in np.linspace(0, length - part, max(2, count))]

"""One list of people from several looks at one picture, nobody twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from edge_app.box_overlap import shared_area
from edge_app.records import BoolArray, BoxArray, Detections
from edge_app.tiles.plan import Tile

# Two looks at one person overlap at least this much; two people who pass each other seldom do.
SAME_IOU = 0.45
# The box of a person is the mean of those that overlap at least this much: one that is off by more is loose, a part, or
# a neighbour's, and the person would stand half outside the mean. Of 0.45, 0.55, 0.65, 0.7 the one with the highest AP
# in four times 200 scenes composed of COCO128: 0.194, 0.187, 0.208, 0.196; with the surest box alone 0.189, 0.183,
# 0.205, 0.193.
_SAME_PLACE_IOU = 0.55
# A box that lies this much inside another one is a part of that person, if it comes from another look.
_PART_INSIDE = 0.75
# A box that was cut off by a tile's edge is believed only where no other look shows more of the person.
_CUT_INSIDE = 0.5
# With so many looks a false box is found more often: of boxes of one score, the odds that they show a person are this
# much smaller than for the whole picture alone. Fitted (logistic, slope 1.02) to the released model's boxes in COCO128,
# 7 views a picture, and in 200 scenes composed of it, 10 views; it was trained on neither.
_ODDS_LOST = 2.44
# A box is called cut if it comes this near to an edge of its tile, in parts of the tile.
_EDGE_PART = 0.012


def merge_views(views: Sequence[tuple[Detections, Optional[Tile]]], image_size: tuple[int, int]) -> Detections:
    """Merge the detections of several views.

    Boxes of one view were already told apart by the detector, so only boxes of different views can be the same person.
    A person's box is the mean of those that show all of them, weighted by their scores and by how large the person is
    in them: each view's is loose in its own way.

    Args:
        views: detections in source pixels, each with its tile, None for the whole picture.
        image_size: width and height of the source, pixels.

    Returns:
        Detections by falling score; scores are brought down so that they mean what they mean for the whole picture.
    """
    if len(views) == 1:
        return views[0][0]
    bbox = np.concatenate([found.bbox for found, _ in views])
    score = np.concatenate([found.score for found, _ in views])
    view = np.concatenate([np.full(len(found), number) for number, (found, _) in enumerate(views)])
    cut = np.concatenate([_cut(found.bbox, tile, image_size) for found, tile in views])
    weight = score / np.array([_area(tile, image_size) for _, tile in views])[view]
    order = np.lexsort((-score, cut))
    bbox, score, view, cut, weight = bbox[order], score[order], view[order], cut[order], weight[order]
    merged = bbox.astype(np.float64)
    keep = np.ones(len(score), np.bool_)
    area = np.prod(bbox[:, 2:] - bbox[:, :2], axis=1)
    for index in range(len(score)):
        if not keep[index]:
            continue
        rest = np.arange(index + 1, len(score))
        rest = rest[keep[rest] & (view[rest] != view[index])]
        shared = shared_area(bbox[rest], bbox[index])
        iou = shared / np.maximum(area[rest] + area[index] - shared, 1e-9)
        inside = shared / np.maximum(np.minimum(area[rest], area[index]), 1e-9)
        limit = np.where(cut[rest], _CUT_INSIDE, _PART_INSIDE)
        keep[rest[(iou > SAME_IOU) | (inside > limit)]] = False
        is_same = (iou > _SAME_PLACE_IOU) & ~cut[rest] & (weight[rest] > 0)
        if is_same.any() and not cut[index] and weight[index] > 0:
            # Of each view the box that lies best; others there are somebody else's, or parts.
            same = rest[is_same][np.argsort(-iou[is_same], kind="stable")]
            looks = np.append(index, same[np.unique(view[same], return_index=True)[1]])
            share = weight[looks] / weight[looks].sum()
            merged[index] = share @ bbox[looks]
    found = Detections(merged[keep].astype(np.float32), _as_of_one_look(score[keep]))
    return found[np.argsort(-found.score, kind="stable")]


def _area(tile: Optional[Tile], image_size: tuple[int, int]) -> float:
    """Return how many pixels of the source a view shows: all views have the model's size, so fewer are seen better."""
    width, height = image_size if tile is None else (tile.width, tile.height)
    return float(width * height)


def _as_of_one_look(score: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the score at which the whole picture alone would be as sure."""
    return score / (score + _ODDS_LOST * (1.0 - score))


def _cut(bbox: BoxArray, tile: Optional[Tile], image_size: tuple[int, int]) -> BoolArray:
    """Tell which boxes end at an edge of their tile that is not an edge of the picture."""
    if tile is None:
        return np.zeros(len(bbox), np.bool_)
    near_x, near_y = _EDGE_PART * tile.width, _EDGE_PART * tile.height
    cut = np.zeros(len(bbox), np.bool_)
    if tile.x > 0:
        cut |= bbox[:, 0] < tile.x + near_x
    if tile.y > 0:
        cut |= bbox[:, 1] < tile.y + near_y
    if tile.x + tile.width < image_size[0]:
        cut |= bbox[:, 2] > tile.x + tile.width - near_x
    if tile.y + tile.height < image_size[1]:
        cut |= bbox[:, 3] > tile.y + tile.height - near_y
    return cut

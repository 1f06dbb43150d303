"""From raw heads to people: decoding, non-maximum suppression, and one box out of the many that show a person."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from edge_app.box_overlap import iou_matrix
from edge_app.records import BoolArray, FloatArray, IntArray

# Scales of ty, tx, th, tw in the TF Object Detection API's faster_rcnn_box_coder.
SCALES = (10.0, 10.0, 5.0, 5.0)
# IoU above which the weaker of two boxes is dropped. Fitted anchors stand closer together than the pretrained ones:
# 0.5 gave AP50 0.374 on composed scenes held out from training, 0.6 (the OD API's) 0.366, 0.4 0.369.
NMS_IOU = 0.5
# A person's box is the mean of those that lie there, by this overlap (IoU) with the surest one, weighted by scores. In
# four times 200 scenes composed of COCO128 AP rose so from 0.139, 0.134, 0.157, 0.148 to 0.143, 0.137, 0.160, 0.153;
# with 0.6, 0.7 and weights that fall with the distance it was the same within 0.002.
_SAME_PLACE_IOU = 0.65
# So begin the names of a model's outputs whose rows were not told apart; a model that lost its manifest still says so.
UNSUPPRESSED = "unsuppressed_"


def decode_boxes(encodings: NDArray[np.floating], anchors: FloatArray) -> FloatArray:
    """Decode (N, 4) ty, tx, th, tw against (N, 4) anchors (centre y, x, height, width) to ymin, xmin, ymax, xmax."""
    ty, tx, th, tw = (np.asarray(encodings, np.float64) / SCALES).T
    centre_y, centre_x, height, width = anchors.T
    y, x = ty * height + centre_y, tx * width + centre_x
    half_height, half_width = np.exp(th) * height / 2, np.exp(tw) * width / 2
    return np.stack([y - half_height, x - half_width, y + half_height, x + half_width], axis=1)


def non_maximum_suppression(
    boxes: FloatArray, scores: NDArray[np.floating], *, iou: float = NMS_IOU, most: int = 100
) -> IntArray:
    """Return the rows of the (N, 4) boxes to keep, best first: greedy, no two with a larger IoU than ``iou``.

    Equal scores are taken in an order that depends on the boxes alone, not on that of the rows.
    """
    return np.array([row for row, _, _ in islice(_surest(boxes, scores, iou), most)], np.int64)


def one_box_each(
    boxes: FloatArray, scores: NDArray[np.floating], *, lowest: float = 0.0
) -> tuple[FloatArray, NDArray[np.floating]]:
    """Return the (M, 4) boxes and (M,) scores of people, best first, out of the (N, 4) boxes of a model's anchors.

    Many anchors show the same person, each a little off in its own way: the surest one says that there is somebody, and
    the mean of those that lie where it lies says where. No two surest ones overlap by more than ``NMS_IOU``; means of
    people who stand close may overlap a little more.

    Args:
        boxes: corners, both xyxy or both yxyx; rows that are not finite are left out.
        scores: of each box.
        lowest: score that the surest box of a person must have.
    """
    sound = np.isfinite(scores) & np.isfinite(boxes).all(axis=1)
    boxes, scores = boxes[sound], scores[sound]
    order = _best_first(boxes, scores)
    boxes, scores = boxes[order], scores[order]
    found: list[FloatArray] = []
    kept: list[int] = []
    for row, overlap, is_free in _surest(boxes, scores, NMS_IOU):
        if scores[row] < lowest:
            break
        # A box speaks for one person, the surest that it is not told apart from: or it would draw neighbours together.
        share = (is_free & (overlap >= _SAME_PLACE_IOU)) * scores.astype(np.float64)
        # A box without an area overlaps nothing, not even itself.
        share[row] = max(scores[row], 1e-9)
        found.append(share @ boxes / share.sum())
        kept.append(row)
    return np.array(found).reshape(-1, 4), scores[kept]


def _surest(boxes: FloatArray, scores: NDArray[np.floating], iou: float) -> Iterator[tuple[int, FloatArray, BoolArray]]:
    """Yield the row of each box that no surer one suppresses, best first, with its (N,) IoU with all boxes.

    Beside them (N,) bool: which boxes those that were yielded before do not suppress.
    """
    is_free = np.ones(len(boxes), np.bool_)
    for row in _best_first(boxes, scores).tolist():
        if is_free[row]:
            overlap = iou_matrix(boxes[row : row + 1], boxes)[0]
            yield row, overlap, is_free
            is_free &= overlap <= iou


def _best_first(boxes: FloatArray, scores: NDArray[np.floating]) -> IntArray:
    """Return the rows by falling score, equal ones in an order that depends on the boxes alone, not on the rows'."""
    return np.lexsort((*boxes.T, -scores))

"""From raw heads to boxes: decoding and non-maximum suppression, for models without the post-process operator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_app.box_overlap import shared_area
from edge_app.records import FloatArray, IntArray

# Scales of ty, tx, th, tw in the TF Object Detection API's faster_rcnn_box_coder.
SCALES = (10.0, 10.0, 5.0, 5.0)
# IoU above which the weaker of two boxes is dropped. Fitted anchors stand closer together than the pretrained ones:
# 0.5 gave AP50 0.374 on composed scenes held out from training, 0.6 (the OD API's) 0.366, 0.4 0.369.
NMS_IOU = 0.5


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
    """Return the rows of the (N, 4) boxes to keep, best first: greedy, no two with a larger IoU than ``iou``."""
    order = np.argsort(-scores, kind="stable")
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        shared = shared_area(boxes[order], boxes[best])
        union = area[order] + area[best] - shared
        order = order[shared <= iou * np.maximum(union, 1e-12)]
    return np.array(kept, np.int64)

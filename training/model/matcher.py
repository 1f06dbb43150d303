"""Which anchor is responsible for which person: the TF Object Detection API's argmax matcher, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.box_decoding import SCALES
from edge_app.records import FloatArray


@dataclass(frozen=True)
class Targets:
    """What the heads of one picture should say.

    Attributes:
        boxes: (anchors, 4) float32 encodings, zero where not matched.
        person: (anchors,) float32, 1 on anchors of a person.
        weight: (anchors,) float32, 0 on anchors that teach nothing: in an ignored region, or of an unsure overlap.
    """

    boxes: np.ndarray
    person: np.ndarray
    weight: np.ndarray


def match(
    boxes: FloatArray, ignored: FloatArray, anchors: FloatArray, *, matched: float = 0.5, unmatched: float = 0.5
) -> Targets:
    """Assign anchors to people.

    An anchor takes the person of its largest IoU if that is at least ``matched``; every person takes its best anchor
    whatever the IoU (``force_match_for_each_row``). Anchors whose largest IoU lies between the thresholds, and those
    that lie mostly inside an ignored region, get no weight.

    Args:
        boxes: (N, 4) normalised ymin, xmin, ymax, xmax of people.
        ignored: (M, 4) regions in which people are not labelled.
        anchors: (anchors, 4) centre y, x, height, width.
        matched, unmatched: IoU thresholds.
    """
    count = len(anchors)
    corners = np.hstack([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2])
    area = anchors[:, 2] * anchors[:, 3]
    weight = np.ones(count, np.float32)
    if len(ignored):
        weight[(_overlap(corners, ignored) / area[:, None]).max(axis=1) > 0.5] = 0.0
    if len(boxes) == 0:
        return Targets(np.zeros((count, 4), np.float32), np.zeros(count, np.float32), weight)
    shared = _overlap(corners, boxes)
    box_area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    iou = shared / np.maximum(area[:, None] + box_area[None] - shared, 1e-12)
    best, value = iou.argmax(axis=1), iou.max(axis=1)
    person = value >= matched
    weight[(value >= unmatched) & ~person] = 0.0
    forced = iou.argmax(axis=0)
    best[forced], person[forced] = np.arange(len(boxes)), True
    weight[person] = 1.0
    encoded = np.zeros((count, 4), np.float32)
    encoded[person] = _encode(boxes[best[person]], anchors[person])
    return Targets(encoded, person.astype(np.float32), weight)


def _overlap(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the (N, M) shared areas of boxes ymin, xmin, ymax, xmax."""
    height = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    width = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    return np.maximum(height, 0.0) * np.maximum(width, 0.0)


def _encode(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-8)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    shift = (centre - anchors[:, :2]) / anchors[:, 2:]
    return np.hstack([shift, np.log(size / anchors[:, 2:])]) * SCALES

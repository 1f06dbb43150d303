"""Boxes that other people explain: a third one over two who walk side by side."""

from __future__ import annotations

import numpy as np

from edge_app.box_overlap import shared_area
from edge_app.records import BoolArray, FloatArray

# A box of which two people cover this much together, and each at least that much, needs nobody of its own.
_COVERED, _EACH = 0.75, 0.2


def is_between(boxes: FloatArray, people: FloatArray, own: FloatArray) -> BoolArray:
    """Tell which (K, 4) boxes lie over two of the people in (M, 4) boxes.

    Args:
        boxes: pixels xyxy.
        people: of tracks.
        own: (K, M) bool, the person whom a box shows itself.
    """
    if len(people) < 2:
        return np.zeros(len(boxes), np.bool_)
    shared = np.where(own, 0.0, shared_area(boxes[:, None], people[None]))
    most = np.argsort(-shared, axis=1)[:, :2]
    first, second = people[most[:, 0]], people[most[:, 1]]
    row = np.arange(len(boxes))
    common = np.hstack([np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])])
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    each = shared[row, most[:, 1]]
    covered = shared[row, most[:, 0]] + each - shared_area(boxes, common)
    result: BoolArray = (covered >= _COVERED * area) & (each >= _EACH * area)
    return result

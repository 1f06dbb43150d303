"""Overlap of boxes."""

from __future__ import annotations

import numpy as np

from edge_app.records import BoxArray, FloatArray, IntArray


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the (N, M) intersection over union of (N, 4) and (M, 4) boxes, both xyxy or both yxyx."""
    intersection = shared_area(a[:, None], b[None])
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    return intersection / np.maximum(area_a[:, None] + area_b[None] - intersection, 1e-12)


def shared_area(a: FloatArray | BoxArray, b: FloatArray | BoxArray) -> FloatArray:
    """Return the areas that boxes (..., 4), all xyxy or all yxyx, have in common, one by one or broadcast."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    area: FloatArray = np.maximum(size, 0.0).prod(axis=-1)
    return area


def touching_pairs(boxes: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows of those pairs of (N, 4) boxes that have an area in common, the lower row first."""
    low, high = boxes[:, None, :2] < boxes[None, :, 2:], boxes[None, :, :2] < boxes[:, None, 2:]
    first, second = np.nonzero((low & high).all(axis=2))
    each = first < second
    return first[each], second[each]

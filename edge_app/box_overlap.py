"""Overlap of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_app.records import BoxArray, FloatArray, IntArray


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the (N, M) intersection over union of (N, 4) and (M, 4) boxes, both xyxy or both yxyx."""
    shared = shared_area(a[:, None], b[None])
    union = _area(a)[:, None] + _area(b)[None] - shared
    iou: FloatArray = shared / np.maximum(union, 1e-12)
    return iou


def shared_area(a: FloatArray | BoxArray, b: FloatArray | BoxArray) -> FloatArray:
    """Return the areas that boxes (..., 4), all xyxy or all yxyx, have in common, one by one or broadcast."""
    # Edge by edge: an axis of length two at the end makes NumPy several times slower.
    area: FloatArray = _shared_edge(a, b, 0) * _shared_edge(a, b, 1)
    return area


def _shared_edge(a: Any, b: Any, axis: int) -> Any:
    return np.maximum(np.minimum(a[..., axis + 2], b[..., axis + 2]) - np.maximum(a[..., axis], b[..., axis]), 0.0)


def _area(boxes: Any) -> Any:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def touching_pairs(boxes: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows of those pairs of (N, 4) boxes that have an area in common, the lower row first."""
    x_min, y_min, x_max, y_max = boxes.T
    # Row i begins before row j ends; two touch where both do.
    begins = (x_min[:, None] < x_max) & (y_min[:, None] < y_max)
    first, second = np.nonzero(begins & begins.T)
    each = first < second
    return first[each], second[each]

"""Anchors fitted to people's boxes, and how well anchors cover them: checked before training, not after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.records import FloatArray
from training.evaluation.metrics import HEIGHT_BANDS
from training.model.anchors import AnchorShape, MapShapes, dense_shapes

# A feature map is responsible for people up to this many of its cells tall; taller ones go to the next map.
_TALLEST_CELLS = 5.0
# Closest spacing that is worth an anchor: more copies of one shape than this in a row add cost and no recall.
_MOST_DENSE = 3
# A map to which fewer boxes fall keeps its default shapes.
_FEWEST_BOXES = 20
_ROUNDS = 50


@dataclass(frozen=True)
class AnchorCoverage:
    """How well anchors cover boxes.

    Attributes:
        bands: (name, people, mean best IoU, part with IoU of at least the matcher's threshold) by height.
        threshold: the matcher's.
    """

    bands: tuple[tuple[str, int, float, float], ...]
    threshold: float

    def __str__(self) -> str:
        """Return the table."""
        lines = [
            f"anchors: {'height':<10} {'people':>7} {'mean IoU':>9} {'IoU >= ' + format(self.threshold, '.2f'):>12}"
        ]
        for name, people, mean, recall in self.bands:
            lines.append(f"         {name:<10} {people:>7} {mean:>9.3f} {recall:>12.3f}")
        return "\n".join(lines)


def fit_anchors(
    boxes: FloatArray, grid: Sequence[tuple[int, int]], shapes: Sequence[MapShapes], per_map: Sequence[int]
) -> tuple[MapShapes, ...]:
    """Choose the anchors of each feature map by k-means under the IoU of sizes.

    Shapes that are small beside the cells of their map are repeated in the cell, so that neighbours overlap by half.

    Args:
        boxes: (N, 4) normalised ymin, xmin, ymax, xmax of people as the network will see them.
        grid: (rows, columns) of each map, finest first.
        shapes: defaults; maps without people keep theirs.
        per_map: clusters for each map.

    Returns:
        Anchors of a cell of each map.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    limits = [_TALLEST_CELLS / rows for rows, _ in grid]
    home = np.searchsorted(np.array(limits[:-1]), sizes[:, 0])
    fitted = []
    for index, ((rows, columns), default, count) in enumerate(zip(grid, shapes, per_map)):
        mine = sizes[home == index]
        if len(mine) < _FEWEST_BOXES:
            fitted.append(default)
            continue
        cell: list[AnchorShape] = []
        for height, width in _k_means(mine, count):
            density = (_density(height * rows), _density(width * columns))
            cell.extend(dense_shapes(round(float(height), 4), round(float(width), 4), density))
        fitted.append(tuple(cell))
    return tuple(fitted)


def coverage(boxes: FloatArray, anchors: FloatArray, threshold: float) -> AnchorCoverage:
    """Measure the best IoU that any anchor has with each box.

    Args:
        boxes: (N, 4) normalised ymin, xmin, ymax, xmax.
        anchors: (anchors, 4) centre y, x, height, width.
        threshold: the matcher's.
    """
    corners = np.hstack([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2])
    best = np.concatenate(
        [iou_matrix(boxes[start : start + 100], corners).max(axis=1) for start in range(0, len(boxes), 100)]
    )
    heights = (boxes[:, 2] - boxes[:, 0]) * 300.0
    bands = []
    for name, (low, high) in HEIGHT_BANDS.items():
        mine = best[(heights >= low) & (heights < high)]
        if len(mine):
            bands.append((name, len(mine), float(mine.mean()), float((mine >= threshold).mean())))
    return AnchorCoverage(tuple(bands), threshold)


def _density(cells: float) -> int:
    """Return how many copies of a shape ``cells`` wide make neighbours at most half a width apart."""
    return min(_MOST_DENSE, max(1, math.ceil(2.0 / cells - 0.25)))


def _k_means(sizes: FloatArray, count: int) -> FloatArray:
    """Return (count, 2) sizes, small first: centres in the logarithm, assigned by IoU."""
    order = sizes[np.argsort(sizes.prod(axis=1))]
    centres = order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]
    for _ in range(_ROUNDS):
        shared = np.minimum(sizes[:, None], centres[None]).prod(axis=2)
        union = sizes.prod(axis=1)[:, None] + centres.prod(axis=1)[None] - shared
        nearest = (shared / union).argmax(axis=1)
        centres = np.array(
            [
                np.exp(np.log(sizes[nearest == k]).mean(axis=0)) if (nearest == k).any() else centres[k]
                for k in range(count)
            ]
        )
    return centres[np.argsort(centres.prod(axis=1))]

"""SSD anchors as the TF Object Detection API's ``ssd_anchor_generator`` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.records import FloatArray

# Scale and aspect ratio (width / height) of the three anchors of the reduced lowest layer.
_LOWEST_LAYER = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))


@dataclass(frozen=True)
class AnchorGenerator:
    """Places anchors on the cells of the feature maps.

    Attributes:
        min_scale, max_scale: side of the square anchor of the first and the last map, parts of the picture.
        aspect_ratios: width / height of the anchors of every map but the first.
    """

    min_scale: float = 0.2
    max_scale: float = 0.95
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)

    def per_cell(self, maps: int) -> list[int]:
        """Return how many anchors a cell of each map has: the reduced lowest layer has three."""
        return [len(_LOWEST_LAYER), *[len(self.aspect_ratios) + 1] * (maps - 1)]

    def generate(self, grid: Sequence[tuple[int, int]]) -> FloatArray:
        """Make all anchors.

        Args:
            grid: (rows, columns) of each feature map, finest first.

        Returns:
            (anchors, 4) float64: centre y, centre x, height, width, normalised to the picture.
        """
        maps = len(grid)
        scales = [self.min_scale + (self.max_scale - self.min_scale) * i / (maps - 1) for i in range(maps)] + [1.0]
        parts = []
        for index, (rows, columns) in enumerate(grid):
            parts.append(_on_grid(rows, columns, self._shapes(index, scales)))
        return np.concatenate(parts)

    def _shapes(self, index: int, scales: Sequence[float]) -> Sequence[tuple[float, float]]:
        """Return (scale, aspect ratio) of each anchor of a cell of map ``index``."""
        if index == 0:
            return _LOWEST_LAYER
        shapes = [(scales[index], ratio) for ratio in self.aspect_ratios]
        # One more square, between this map's scale and the next one's.
        return [*shapes, (float(np.sqrt(scales[index] * scales[index + 1])), 1.0)]


def _on_grid(rows: int, columns: int, shapes: Sequence[tuple[float, float]]) -> FloatArray:
    scale, ratio = np.array(shapes, np.float64).T
    height, width = scale / np.sqrt(ratio), scale * np.sqrt(ratio)
    centre_y, centre_x = np.meshgrid(
        (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
    )
    shape = (rows, columns, len(shapes))
    stacked = np.stack(
        [
            np.broadcast_to(centre_y[..., None], shape),
            np.broadcast_to(centre_x[..., None], shape),
            np.broadcast_to(height, shape),
            np.broadcast_to(width, shape),
        ],
        axis=-1,
    )
    return stacked.reshape(-1, 4)

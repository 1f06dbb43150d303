"""SSD anchors: those of the TF Object Detection API's ``ssd_anchor_generator``, and shapes fitted to data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.records import FloatArray

# Scale and aspect ratio (width / height) of the three anchors of the reduced lowest layer.
_LOWEST_LAYER = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))


@dataclass(frozen=True)
class AnchorShape:
    """One anchor of a cell.

    Attributes:
        height, width: parts of the picture.
        offset_y, offset_x: of its centre from the cell's, parts of the cell.
    """

    height: float
    width: float
    offset_y: float = 0.0
    offset_x: float = 0.0


MapShapes = tuple[AnchorShape, ...]


@dataclass(frozen=True)
class AnchorGenerator:
    """The shapes that ``ssd_anchor_generator`` with a reduced lowest layer makes.

    Attributes:
        min_scale, max_scale: side of the square anchor of the first and the last map, parts of the picture.
        aspect_ratios: width / height of the anchors of every map but the first.
    """

    min_scale: float = 0.2
    max_scale: float = 0.95
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)

    def shapes(self, maps: int) -> tuple[MapShapes, ...]:
        """Return the anchors of a cell of each map, finest first."""
        scales = [self.min_scale + (self.max_scale - self.min_scale) * i / (maps - 1) for i in range(maps)] + [1.0]
        made: list[tuple[tuple[float, float], ...]] = [_LOWEST_LAYER]
        for scale, following in zip(scales[1:-1], scales[2:]):
            # One more square, between this map's scale and the next one's.
            between = (float(np.sqrt(scale * following)), 1.0)
            made.append((*((scale, ratio) for ratio in self.aspect_ratios), between))
        return tuple(
            tuple(AnchorShape(float(scale / np.sqrt(ratio)), float(scale * np.sqrt(ratio))) for scale, ratio in shapes)
            for shapes in made
        )

    def generate(self, grid: Sequence[tuple[int, int]]) -> FloatArray:
        """Return all anchors; see ``generate_anchors``."""
        return generate_anchors(self.shapes(len(grid)), grid)


def dense_shapes(height: float, width: float, density: tuple[int, int]) -> MapShapes:
    """Return rows x columns (``density``) anchors of one shape, spread over the cell.

    Small objects need anchors closer together than the cells of a feature map are (anchor densification of FaceBoxes,
    Zhang et al., IJCB 2017).
    """
    down, across = ((np.arange(count) + 0.5) / count - 0.5 for count in density)
    return tuple(AnchorShape(height, width, float(y), float(x)) for y in down for x in across)


def generate_anchors(shapes: Sequence[MapShapes], grid: Sequence[tuple[int, int]]) -> FloatArray:
    """Place anchors on the cells of the feature maps.

    Args:
        shapes: anchors of a cell of each map, finest first.
        grid: (rows, columns) of each map.

    Returns:
        (anchors, 4) float64: centre y, centre x, height, width, normalised to the picture.
    """
    return np.concatenate([_on_grid(rows, columns, cell) for (rows, columns), cell in zip(grid, shapes)])


def _on_grid(rows: int, columns: int, cell: MapShapes) -> FloatArray:
    y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
    height, width, offset_y, offset_x = np.array(
        [(shape.height, shape.width, shape.offset_y, shape.offset_x) for shape in cell]
    ).T
    centre_y = (y[..., None] + offset_y) / rows
    centre_x = (x[..., None] + offset_x) / columns
    height, width = np.broadcast_to(height, centre_y.shape), np.broadcast_to(width, centre_y.shape)
    return np.stack([centre_y, centre_x, height, width], axis=-1).reshape(-1, 4)

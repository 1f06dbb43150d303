"""Where people are not annotated, as labels say it with ``ignore_rects_foot``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_app.records import BoolArray, FloatArray

# Detectors clip or overshoot by fractions: a box within a pixel of the border is cut by it.
_BORDER_PX = 1.0


@dataclass(frozen=True)
class IgnoreRegions:
    """Where people are not annotated.

    Attributes:
        foot_rects: (R, 4) float64, xyxy pixels from 0: people whose foot lies inside are not annotated.
        image_width, image_height: pixels; people who are cut by the picture's border are not annotated reliably.
    """

    foot_rects: FloatArray
    image_width: int
    image_height: int

    def covers(self, bbox: FloatArray) -> BoolArray:
        """Tell for (N, 4) boxes whether they lie where nobody is annotated: foot in a rectangle, or at the border."""
        at_border = (bbox[:, :2] <= _BORDER_PX).any(axis=1)
        at_border |= (bbox[:, 2] >= self.image_width - _BORDER_PX) | (bbox[:, 3] >= self.image_height - _BORDER_PX)
        foot_x, foot_y = (bbox[:, 0] + bbox[:, 2]) / 2, bbox[:, 3]
        left, top, right, bottom = self.foot_rects.T[:, :, None]
        in_rect = (foot_x >= left) & (foot_x <= right) & (foot_y >= top) & (foot_y <= bottom)
        return at_border | in_rect.any(axis=0)


def foot_rects_of(rects: Any) -> FloatArray:
    """Return the rectangles of ``ignore_rects_foot`` as (R, 4) float64 xyxy.

    Args:
        rects: x, y, width, height of each, pixels from 0, as COCO tells boxes.

    Raises:
        TypeError, ValueError: they are not lists of four numbers.
    """
    corners = np.array(rects, np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners

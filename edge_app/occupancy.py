"""How many people are in a region."""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from edge_app.config import MetricsConfig
from edge_app.records import FrameResult


class Region:
    """The configured region of a camera, or everything it sees.

    Attributes:
        area_m2: None without a region.
    """

    def __init__(self, config: MetricsConfig) -> None:
        self._corners = None if config.region_m is None else np.array(config.region_m, np.float32)
        self.area_m2 = None if self._corners is None else float(cv2.contourArea(self._corners))

    def is_known(self, *, in_metres: bool) -> bool:
        """Whether it can be told who is inside: a region is a place in metres, everything in sight is none."""
        return in_metres or self._corners is None

    def count(self, result: FrameResult) -> Optional[int]:
        """Return how many people who were seen in this frame are inside; with a region only those with a position.

        Returns:
            None where that can't be told: with a region and without metres.
        """
        if not self.is_known(in_metres=result.in_metres):
            return None
        seen = result.tracks.observed
        if self._corners is None:
            return int(seen.sum())
        corners = self._corners
        places = result.ground.xy_m[seen & result.ground.valid]
        return sum(cv2.pointPolygonTest(corners, (float(x), float(y)), False) >= 0 for x, y in places)

"""How many people are in a region."""

from __future__ import annotations

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

    def count(self, result: FrameResult) -> int:
        """Return how many people who were seen in this frame are inside; with a region only those with a position."""
        seen = result.tracks.observed
        if self._corners is None:
            return int(seen.sum())
        corners = self._corners
        places = result.ground.xy_m[seen & result.ground.valid]
        return sum(cv2.pointPolygonTest(corners, (float(x), float(y)), False) >= 0 for x, y in places)

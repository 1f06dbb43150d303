"""Distance as the older Smart Social Distancing app estimates it from box sizes, for comparison only.

Re-derived from its published behaviour: every person is 170 cm tall, so a box's height gives the scale at that box.
The scale is right across the view and wrong in depth, which is why none of this is used outside this comparison.
"""

from __future__ import annotations

import numpy as np

from edge_app.records import FloatArray

_PERSON_HEIGHT_M = 1.70


def center_points_distance(bbox: FloatArray) -> FloatArray:
    """Return the (N, N) distances in metres between box centres: pixels times the mean scale of the two boxes."""
    return _scaled_distance((bbox[:, :2] + bbox[:, 2:]) / 2, bbox)


def four_corner_points_distance(bbox: FloatArray) -> FloatArray:
    """Return the (N, N) smallest of the distances in metres between corners of the same name."""
    corners = [bbox[:, [column, row]] for column in (0, 2) for row in (1, 3)]
    return np.min([_scaled_distance(corner, bbox) for corner in corners], axis=0)


OLDER_FORMULAS = {
    "CenterPointsDistance": center_points_distance,
    "FourCornerPointsDistance": four_corner_points_distance,
}


def _scaled_distance(points: FloatArray, bbox: FloatArray) -> FloatArray:
    scale = _PERSON_HEIGHT_M / (bbox[:, 3] - bbox[:, 1])
    mean_scale = (scale[:, None] + scale[None]) / 2
    difference = points[:, None] - points[None]
    return np.hypot(difference[..., 0], difference[..., 1]) * mean_scale

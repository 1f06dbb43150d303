"""The interface of every camera model, and the reader of camera files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edge_app.records import FloatArray


class CameraModel(Protocol):
    """Maps between source pixels and metres on the ground plane (z = 0 of the world frame)."""

    image_width: int
    image_height: int

    def image_to_ground(self, points_px: FloatArray) -> FloatArray:
        """Map (N, 2) source pixels to (N, 2) metres; NaN where the ray does not meet the ground before the camera."""

    def ground_to_image(self, points_m: FloatArray) -> FloatArray:
        """Map (N, 2) metres on the ground to (N, 2) source pixels; NaN for points behind the camera."""


def load_camera(path: Path) -> CameraModel:
    """Read a camera file (YAML)."""
    raise NotImplementedError

"""Synthetic cameras and people with exact answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_app.calibration import PinholeCamera
from edge_app.records import Detections, FloatArray, Frame


def camera_looking_down(
    height_m: float = 3.0, tilt_deg: float = 20.0, focal_px: float = 600.0, width: int = 960, height: int = 720
) -> PinholeCamera:
    """A camera above the origin that looks along +y, tilted down; x to the right, z up, no distortion."""
    tilt = np.deg2rad(tilt_deg)
    right = np.array([1.0, 0.0, 0.0])
    forward = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    position = np.array([0.0, 0.0, height_m])
    return PinholeCamera(width, height, matrix, np.zeros(5), rotation, -rotation @ position)


def boxes_of_people(
    camera: PinholeCamera, feet_m: FloatArray, person_m: float = 1.7, aspect: float = 0.4
) -> Detections:
    """Exact boxes of upright people that stand at (N, 2) metres."""
    feet_m = np.asarray(feet_m, np.float64).reshape(-1, 2)
    feet = camera.ground_to_image(feet_m)
    heads = camera.world_to_image(np.column_stack([feet_m, np.full(len(feet_m), person_m)]))
    half_width = aspect * (feet[:, 1] - heads[:, 1]) / 2
    bbox = np.stack([feet[:, 0] - half_width, heads[:, 1], feet[:, 0] + half_width, feet[:, 1]], axis=1)
    return Detections(bbox.astype(np.float32), np.full(len(feet_m), 0.9, np.float32))


def black_frames(count: int, fps: float, width: int = 64, height: int = 48) -> Iterator[Frame]:
    """Frames without content, for tests of what happens after the detector."""
    image = np.zeros((height, width, 3), np.uint8)
    for index in range(count):
        yield Frame(image, index, index / fps)

"""Small videos for tests, made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, frames: int = 30, fps: float = 10.0, width: int = 64, height: int = 48) -> Path:
    """Write a Motion JPEG AVI whose frame ``k`` is grey ``4 k``."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((height, width, 3), (4 * index) % 256, np.uint8))
    writer.release()
    return path

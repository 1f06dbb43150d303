"""Hides people in pictures before anything is drawn, encoded or stored."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from edge_app.records import BoxArray, FrameResult, Image
from edge_app.render import palette

PrivacyMode = Literal["pixelate", "blur", "schematic", "show"]

# Boxes are widened by this part of their size: detectors cut off hair, feet and swinging arms.
_MARGIN = 0.1
# What is left of a person, near or far: this many blocks from head to foot, too few to recognise anyone.
_BLOCKS_HIGH = 6


def people_boxes(result: FrameResult) -> BoxArray:
    """Return the (N, 4) boxes of everyone who may be in the picture.

    That is weak detections, lost tracks and still things too, and whoever was found a moment ago and is not now: by a
    detector that is not sure, in a part of the picture whose turn it was not, or in a frame that was passed over.
    """
    return np.concatenate([result.detections.bbox, result.tracks.bbox, result.things.bbox, result.last_seen])


def hide_people(image: Image, boxes: BoxArray, mode: PrivacyMode) -> Image:
    """Return a copy of the picture in which the people in the boxes can't be recognised.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4) source pixels xyxy; may reach over the border, be tiny or not finite.
        mode: ``pixelate`` in at most six blocks of height, ``blur`` the same smoothed, ``schematic`` for an empty
            ground instead of the picture, or ``show`` everything.
    """
    if mode == "schematic":
        return np.full_like(image, palette.SHADE)
    hidden = image.copy()
    if mode == "show":
        return hidden
    interpolation = cv2.INTER_NEAREST if mode == "pixelate" else cv2.INTER_LINEAR
    for left, top, right, bottom in hidden_rectangles(boxes, image.shape[1], image.shape[0]).tolist():
        height, width = bottom - top, right - left
        rows = min(_BLOCKS_HIGH, height)
        columns = min(max(1, round(rows * width / height)), 2 * _BLOCKS_HIGH, width)
        # Always from the untouched picture: overlapping boxes must not sharpen one another.
        few = cv2.resize(image[top:bottom, left:right], (columns, rows), interpolation=cv2.INTER_AREA)
        hidden[top:bottom, left:right] = cv2.resize(few, (width, height), interpolation=interpolation)
    return hidden


def hidden_rectangles(boxes: BoxArray, width: int, height: int) -> np.ndarray:
    """Return (M, 4) integer boxes with their margin, cut to the picture, without those that lie outside."""
    finite = boxes[np.isfinite(boxes).all(axis=1)].astype(np.float64)
    low, high = np.minimum(finite[:, :2], finite[:, 2:]), np.maximum(finite[:, :2], finite[:, 2:])
    margin = _MARGIN * (high - low)
    size = np.array([width, height])
    low = np.clip(np.floor(low - margin), 0, size).astype(np.int64)
    high = np.clip(np.ceil(high + margin), 0, size).astype(np.int64)
    inside = (high > low).all(axis=1)
    return np.hstack([low[inside], high[inside]])

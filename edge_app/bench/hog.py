"""OpenCV's own people detector, to compare with: HOG and a linear classifier (Dalal and Triggs 2005)."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.records import Detections, Image


class HogDetector:
    """The detector with the parameters of OpenCV's own example (``samples/python/peopledetect.py``)."""

    def __init__(self) -> None:
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())  # type: ignore[attr-defined]

    def __call__(self, image: Image) -> Detections:
        """Find people in a (H, W, 3) BGR picture; the score is the classifier's margin, squeezed into 0 to 1."""
        boxes, weights = self._hog.detectMultiScale(image, winStride=(8, 8), padding=(32, 32), scale=1.05)
        if len(boxes) == 0:
            return Detections.empty()
        left, top, width, height = np.asarray(boxes, np.float32).T
        # Its window has a rim of a quarter around the person; the example takes off 15 % and 5 % on each side.
        bbox = np.stack(
            [left + 0.15 * width, top + 0.05 * height, left + 0.85 * width, top + 0.95 * height], axis=1
        ).astype(np.float32)
        margin = np.ravel(weights).astype(np.float32)
        return Detections(bbox, (margin / (1.0 + margin)).astype(np.float32))

"""What the scene looked like when the camera was calibrated: where edges run, and nothing else.

A reference is small and keeps no brightness: for each pixel of a thumbnail whether an edge runs there, and in which of
eight directions it rises. People are left out. That is enough to tell whether the camera still looks the same way, and
too little to recognise anybody.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.records import BoxArray, Image

WIDTH = 160
_DIRECTIONS = 8
# Codes: 0 no edge, 1 to 8 the direction, 255 not known (somebody stood there).
_UNKNOWN = 255
# An edge is a gradient above this multiple of the picture's mean gradient: brighter light makes no more edges.
_EDGE = 1.2
# Grey levels a pixel, under which a gradient is noise of the sensor.
_NOISE = 2.0
# Boxes are made larger by this part of their height before they are left out: shadows, hands, loose boxes.
_GROWTH = 0.15

Codes = NDArray[np.uint8]
# The unit vector of each code; of what is no edge, and of what is not known, it is zero.
_ANGLES = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
_VECTORS = np.zeros((256, 2), np.float32)
_VECTORS[1 : _DIRECTIONS + 1] = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])


@dataclass(frozen=True)
class SceneReference:
    """Edges of a scene.

    Attributes:
        codes: (H, 160) uint8, see above.
    """

    codes: Codes

    def to_text(self) -> str:
        """Return it as text for a file."""
        return base64.b64encode(zlib.compress(self.codes.tobytes(), 9)).decode("ascii")

    @staticmethod
    def from_text(text: str, height: int) -> SceneReference:
        """Read what ``to_text`` wrote.

        Raises:
            ValueError: it is something else.
        """
        size = WIDTH * height
        try:
            stream = zlib.decompressobj()
            content = stream.decompress(base64.b64decode(text, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError("the text is damaged") from error
        if len(content) != size:
            raise ValueError(f"it holds {len(content)} pixels or more, not {size}")
        return SceneReference(np.frombuffer(content, np.uint8).reshape(height, WIDTH).copy())

    @property
    def edges(self) -> int:
        """Number of pixels at which an edge runs."""
        return int(((self.codes > 0) & (self.codes != _UNKNOWN)).sum())

    def vectors(self) -> NDArray[np.float32]:
        """Return (H, 160, 2) float32 unit vectors towards more brightness, a little smoothed; 0 without an edge."""
        return np.asarray(cv2.GaussianBlur(_VECTORS[self.codes], (3, 3), 0.8), np.float32)


class Thumbnail:
    """A small grey picture without the people in it."""

    def __init__(self, image: Image, people: BoxArray) -> None:
        """Shrink a (H, W, 3) BGR picture; ``people`` are (N, 4) boxes in its pixels, which count as not known."""
        height = thumbnail_height(image.shape[1], image.shape[0])
        # Twice the size first: averaging all pixels of a large picture would cost more than all else here.
        small = cv2.resize(image, (2 * WIDTH, 2 * height), interpolation=cv2.INTER_LINEAR)
        grey = cv2.cvtColor(cv2.resize(small, (WIDTH, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        self.grey: NDArray[np.float32] = grey.astype(np.float32)
        self.known = np.ones(self.grey.shape, np.bool_)
        scale = WIDTH / image.shape[1]
        for left, top, right, bottom in np.asarray(people, np.float64).reshape(-1, 4).tolist():
            grown = _GROWTH * (bottom - top)
            x0, x1 = int((left - grown) * scale), int(np.ceil((right + grown) * scale))
            y0, y1 = int((top - grown) * scale), int(np.ceil((bottom + grown) * scale))
            self.known[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = False


def thumbnail_height(width: int, height: int) -> int:
    """Return the height of the thumbnail of a picture of this size."""
    return max(8, round(WIDTH * height / width))


def reference_of(thumbnails: Sequence[Thumbnail]) -> SceneReference:
    """Find the edges of what stays the same: the median of thumbnails of one size, people left out."""
    grey, count = _median_of_known(thumbnails)
    return SceneReference(_codes(grey, count > 0))


def _median_of_known(thumbnails: Sequence[Thumbnail]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the (H, W) median of what is known of each pixel, 0 where nothing is, and in how many thumbnails it is.

    NumPy's own median of numbers that may be missing takes ten times as long, which would delay a frame.
    """
    # What is not known sorts to the end: an odd-even transposition sort of whole pictures (Knuth, vol. 3, 5.3.4).
    ordered = [np.where(one.known, one.grey, np.float32(np.inf)) for one in thumbnails]
    for turn in range(len(ordered)):
        for left in range(turn % 2, len(ordered) - 1, 2):
            pair = ordered[left], ordered[left + 1]
            ordered[left], ordered[left + 1] = np.minimum(*pair), np.maximum(*pair)
    count = np.zeros(ordered[0].shape, np.int64)
    for one in thumbnails:
        count += one.known
    median = np.zeros(ordered[0].shape, np.float32)
    for known in range(1, len(ordered) + 1):
        middle = (ordered[(known - 1) // 2] + ordered[known // 2]) / np.float32(2)
        np.copyto(median, middle, where=count == known)
    return median, count


def _codes(grey: NDArray[np.float32], known: NDArray[np.bool_]) -> Codes:
    smooth = cv2.GaussianBlur(grey, (3, 3), 0.8)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    size = np.hypot(right, down)
    # Next to what is not known a gradient is that of the hole.
    sure = cv2.erode(known.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
    limit = max(_NOISE, _EDGE * float(size[sure].mean())) if sure.any() else np.inf
    direction = np.round(np.arctan2(down, right) * _DIRECTIONS / (2 * np.pi)).astype(np.int64) % _DIRECTIONS
    codes = np.where(size > limit, direction + 1, 0).astype(np.uint8)
    codes[~sure] = _UNKNOWN
    return codes

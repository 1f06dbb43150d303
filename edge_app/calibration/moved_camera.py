"""Does the camera still look the way it did when it was calibrated?"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Optional

import cv2
import numpy as np

from edge_app.calibration.scene_reference import SceneReference, Thumbnail, reference_of, thumbnail_height
from edge_app.records import BoxArray, FloatArray, Image

# A picture each second, the median of the last nine against the reference every two seconds: who passes is not in it.
_SAMPLE_S = 1.0
_SAMPLES = 9
_CHECK_S = 2.0
# That many checks in a row must agree before something is said: a lorry, a cloud, a hand.
_AGREEING = 3
# Parts into which the picture falls, and how far each is looked for, pixels of the thumbnail (160 wide).
_ROWS, _COLUMNS = 4, 5
_REACH_PX = 12
# A part needs this share of edges to be told from others, and must be found again this clearly.
_MIN_EDGES = 0.06
_MIN_SCORE, _MIN_CONTRAST = 0.35, 0.15
_FEWEST_PARTS = 4
# A pixel is what wind and a quiver of the mount do; two are 0.9 degrees for a lens of 70. Largest at the four corners.
_STILL_PX = 1.8
# What a camera does moves all parts alike: a shift, a turn, a zoom, to within this; so many parts must follow it.
_SPREAD_PX = 1.5
_FOLLOWING = 0.6
# With fewer parts found in their place than this the picture shows something else, or nothing.
_RECOGNISED = 0.25
# A picture with fewer edges than this part of the reference's shows night or a cover, not another scene.
_LIT = 0.5

Verdict = Literal["same", "moved", "unclear"]


@dataclass(frozen=True)
class Comparison:
    """A scene beside its reference.

    Attributes:
        verdict: same view, moved camera, or not to be told (too dark, covered, no structure).
        parts: number of parts of the reference with structure.
        found: number of them that were found again.
        shift: median movement of these, parts of the picture's width, to the right and down.
    """

    verdict: Verdict
    parts: int
    found: int
    shift: tuple[float, float]


def compare_scene(reference: SceneReference, current: SceneReference) -> Comparison:
    """Look for each part of the reference in the current scene, near where it was."""
    there, here = reference.vectors(), current.vectors()
    height, width = reference.codes.shape
    padded = cv2.copyMakeBorder(here, *(_REACH_PX,) * 4, cv2.BORDER_CONSTANT, value=(0.0, 0.0))
    moves: list[tuple[int, int]] = []
    middles: list[tuple[float, float]] = []
    parts = 0
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            top, bottom = row * height // _ROWS, (row + 1) * height // _ROWS
            left, right = column * width // _COLUMNS, (column + 1) * width // _COLUMNS
            part = there[top:bottom, left:right]
            if (np.abs(part).sum(axis=2) > 0.3).mean() < _MIN_EDGES:
                continue
            parts += 1
            window = padded[top : bottom + 2 * _REACH_PX, left : right + 2 * _REACH_PX]
            move = _find(np.ascontiguousarray(part), np.ascontiguousarray(window))
            if move is not None:
                moves.append(move)
                middles.append(((left + right) / 2, (top + bottom) / 2))
    found = len(moves)
    shift = np.median(np.array(moves).reshape(-1, 2), axis=0) / width if found else np.zeros(2)
    verdict: Verdict = "unclear"
    if parts >= _FEWEST_PARTS:
        if found >= max(4.0, _RECOGNISED * parts):
            verdict = _verdict(np.array(middles), np.array(moves, np.float64), (width, height))
        in_place = sum(max(abs(right), abs(down)) <= 1 for right, down in moves)
        if verdict == "unclear" and in_place < _RECOGNISED * parts and current.edges > _LIT * reference.edges:
            verdict = "moved"
    return Comparison(verdict, parts, found, (float(shift[0]), float(shift[1])))


def enough_structure(reference: SceneReference) -> bool:
    """Tell whether a scene has enough edges for a moved camera to be noticed."""
    return compare_scene(reference, reference).verdict == "same"


class CameraWatch:
    """Compares the scene with the calibration's reference while frames come.

    Attributes:
        moved: the camera looks elsewhere than when it was calibrated.
        reference: the scene then.
    """

    def __init__(self, reference: SceneReference) -> None:
        self.moved = False
        self.reference = reference
        self._samples: deque[Thumbnail] = deque(maxlen=_SAMPLES)
        self._next_sample_s = -np.inf
        self._next_check_s = -np.inf
        self._against = 0
        self._size: Optional[tuple[int, int]] = None

    def wants(self, time_s: float) -> bool:
        """Tell whether a picture of this moment is of use."""
        return time_s >= self._next_sample_s

    def look(self, time_s: float, image: Image, people: BoxArray) -> bool:
        """Take a picture, its people as (N, 4) boxes in its pixels; returns whether ``moved`` changed."""
        if not self.wants(time_s):
            return False
        self._next_sample_s = time_s + _SAMPLE_S
        size = (image.shape[1], image.shape[0])
        if thumbnail_height(*size) != self.reference.codes.shape[0]:
            return False
        if size != self._size:
            self._samples.clear()
            self._size = size
        self._samples.append(Thumbnail(image, people))
        if len(self._samples) <= _SAMPLES // 2 or time_s < self._next_check_s:
            return False
        self._next_check_s = time_s + _CHECK_S
        verdict = compare_scene(self.reference, reference_of(self._samples)).verdict
        speaks_against = verdict == ("same" if self.moved else "moved")
        self._against = self._against + 1 if speaks_against else 0
        if self._against < _AGREEING:
            return False
        self.moved = not self.moved
        self._against = 0
        return True


def _find(part: np.ndarray, window: np.ndarray) -> Optional[tuple[int, int]]:
    """Return by how many pixels (right, down) a part is found shifted in its window; None if it is not."""
    score = cv2.matchTemplate(window, part, cv2.TM_CCORR_NORMED)
    score[~np.isfinite(score)] = 0.0
    _, best, _, (x, y) = cv2.minMaxLoc(score)
    if best < _MIN_SCORE or best - float(np.median(score)) < _MIN_CONTRAST:
        return None
    return x - _REACH_PX, y - _REACH_PX


def _verdict(middles: FloatArray, moves: FloatArray, size: tuple[int, int]) -> Verdict:
    """Fit the one movement of the camera that most parts follow, and judge it at the corners of the picture."""
    matrix, following = cv2.estimateAffinePartial2D(
        middles, middles + moves, method=cv2.RANSAC, ransacReprojThreshold=_SPREAD_PX, maxIters=500, confidence=0.999
    )
    if matrix is None or following.mean() < _FOLLOWING:
        return "unclear"
    corners = np.array([[0.0, 0.0], [size[0], 0.0], [0.0, size[1]], [size[0], size[1]]])
    moved = np.hypot(*(corners @ matrix[:, :2].T + matrix[:, 2] - corners).T)
    middle = np.hypot(*(matrix[:, :2] @ (np.array(size) / 2) + matrix[:, 2] - np.array(size) / 2))
    # A turn or a zoom that follows from parts which are a pixel off is none: corners reach farther than the parts do.
    return "same" if middle <= _STILL_PX and np.median(moved) <= 1.5 * _STILL_PX else "moved"

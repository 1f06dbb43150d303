"""Where somebody was seen a moment ago and is not seen now: there pictures hide, as if the person were still found."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.records import BoolArray, BoxArray, Detections, FloatArray
from edge_app.tracking.association import assign

# A place is hidden for so long after somebody was found there: a detector that is not sure of a person finds them in
# some frames only. Time in which frames were passed over does not count; the next frame always hides, however late.
_HIDE_S = 1.0
# Boxes that are remembered at most: a threshold of nearly nothing must not eat time and memory.
_MOST = 200
# A box of now that overlaps one of before by this shows the same person.
_SAME_IOU = 0.2
# Whoever is not found may move: body heights a second (1.4 m/s at 1.7 m), and so many at most. Whoever walks on is
# found elsewhere, as a rule; with more than this most of a picture would be hidden for those who do not.
_WALKS, _FARTHEST = 0.8, 0.25


class LastSeen:
    """Remembers boxes of people until somebody is found in their place, or long enough nobody."""

    def __init__(self) -> None:
        self._bbox: FloatArray = np.zeros((0, 4))
        self._age_s: FloatArray = np.zeros(0)
        self._is_new: BoolArray = np.zeros(0, np.bool_)
        self._unchecked: FloatArray = np.zeros((0, 4))
        self._time_s: Optional[float] = None

    def update(self, time_s: float, detections: Detections) -> BoxArray:
        """Take all boxes of a frame, weak ones too.

        Args:
            time_s: of the frame, seconds; must not decrease.
            detections: of the frame.

        Returns:
            (M, 4) source pixels: boxes of before that no box of now continues, wider the longer ago they are, and who
            was found where it is not this frame's turn to look.
        """
        step_s = time_s - self._time_s if self._time_s is not None else 0.0
        self._time_s = time_s
        if detections.passed_over:
            return np.concatenate([self._grown(), self._unchecked]).astype(np.float32)
        self._check(detections.unchecked)
        now = detections.bbox[np.isfinite(detections.bbox).all(axis=1)].astype(np.float64)
        overlap = iou_matrix(self._bbox, now)
        gone_on, _ = assign(np.where(overlap >= _SAME_IOU, 1.0 - overlap, np.inf))
        self._age_s = self._age_s + step_s
        keep = self._is_new | (self._age_s <= _HIDE_S)
        keep[gone_on] = False
        # The newest ones are at the end.
        kept = np.flatnonzero(keep)[-_MOST:]
        held = np.concatenate([self._grown()[kept], self._unchecked]).astype(np.float32)
        self._bbox, self._age_s = self._bbox[kept], self._age_s[kept]
        self._is_new = np.zeros(len(kept), np.bool_)
        self._remember(now)
        return held

    def scale(self, x: float, y: float) -> None:
        """Follow a picture whose width and height have changed by these factors."""
        self._bbox = self._bbox * (x, y, x, y)
        self._unchecked = self._unchecked * (x, y, x, y)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        return {
            "bbox": self._bbox.tolist(),
            "age_s": self._age_s.tolist(),
            "is_new": self._is_new.tolist(),
            "unchecked": self._unchecked.tolist(),
            "time_s": self._time_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._bbox = np.array(state["bbox"], np.float64).reshape(-1, 4)
        self._age_s = np.array(state["age_s"], np.float64)
        self._is_new = np.array(state["is_new"], np.bool_)
        self._unchecked = np.array(state["unchecked"], np.float64).reshape(-1, 4)
        self._time_s = state["time_s"]

    def _check(self, unchecked: Optional[BoxArray]) -> None:
        """Take over who is not looked for now; whose turn has come is held as if found just before."""
        before, self._unchecked = self._unchecked, np.zeros((0, 4))
        if unchecked is not None:
            self._unchecked = unchecked[np.isfinite(unchecked).all(axis=1)].astype(np.float64)
        still = set(map(tuple, self._unchecked.tolist()))
        turn_came = [box for box in before.tolist() if tuple(box) not in still]
        self._remember(np.array(turn_came).reshape(-1, 4))

    def _remember(self, boxes: FloatArray) -> None:
        self._bbox = np.concatenate([self._bbox, boxes])
        self._age_s = np.concatenate([self._age_s, np.zeros(len(boxes))])
        self._is_new = np.concatenate([self._is_new, np.ones(len(boxes), np.bool_)])

    def _grown(self) -> BoxArray:
        height = self._bbox[:, 3] - self._bbox[:, 1]
        by = (height * np.minimum(_WALKS * self._age_s, _FARTHEST))[:, None]
        grown: BoxArray = np.hstack([self._bbox[:, :2] - by, self._bbox[:, 2:] + by]).astype(np.float32)
        return grown

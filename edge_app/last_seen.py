"""Where somebody was seen a moment ago and is not seen now: there pictures hide, as if the person were still found."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.records import BoxArray, Detections, FloatArray
from edge_app.tracking.association import assign

# A place is hidden for so long after it was looked at and nobody was found: a detector that is not sure of a person
# finds them in some frames only. Time in which it was not looked at does not count.
_HIDE_S = 2.0
# A box of now that overlaps one of before by this shows the same person.
_SAME_IOU = 0.2
# Whoever is not found may walk on: body heights a second (1.4 m/s at 1.7 m), and no farther than this many.
_WALKS, _FARTHEST = 0.8, 0.5


class LastSeen:
    """Remembers boxes of people until somebody is found in their place, or long enough nobody."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop all; the picture is another one."""
        self._bbox: FloatArray = np.zeros((0, 4))
        self._moving_s: FloatArray = np.zeros(0)
        self._looked_s: FloatArray = np.zeros(0)
        self._time_s: Optional[float] = None

    def update(self, time_s: float, detections: Detections) -> BoxArray:
        """Take all boxes of a frame, weak ones too.

        Args:
            time_s: of the frame, seconds; must not decrease.
            detections: of the frame. Where nothing of it was looked at, nothing has moved.

        Returns:
            (M, 4) source pixels: boxes of before that no box of now continues, wider the longer ago they are.
        """
        step_s = time_s - self._time_s if self._time_s is not None else 0.0
        self._time_s = time_s
        if detections.passed_over:
            return self._grown()
        now = detections.bbox[np.isfinite(detections.bbox).all(axis=1)].astype(np.float64)
        overlap = iou_matrix(self._bbox, now)
        gone_on, _ = assign(np.where(overlap >= _SAME_IOU, 1.0 - overlap, np.inf))
        self._moving_s = self._moving_s + step_s
        self._looked_s = self._looked_s + np.where(detections.is_blind_at(self._bbox), 0.0, step_s)
        keep = self._looked_s <= _HIDE_S
        keep[gone_on] = False
        held = self._grown()[keep]
        just_now = np.zeros(len(now))
        self._bbox = np.concatenate([self._bbox[keep], now])
        self._moving_s = np.concatenate([self._moving_s[keep], just_now])
        self._looked_s = np.concatenate([self._looked_s[keep], just_now])
        return held

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values."""
        return {
            "bbox": self._bbox.tolist(),
            "moving_s": self._moving_s.tolist(),
            "looked_s": self._looked_s.tolist(),
            "time_s": self._time_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._bbox = np.array(state["bbox"], np.float64).reshape(-1, 4)
        self._moving_s, self._looked_s = np.array(state["moving_s"]), np.array(state["looked_s"])
        self._time_s = state["time_s"]

    def _grown(self) -> BoxArray:
        height = self._bbox[:, 3] - self._bbox[:, 1]
        by = (height * np.minimum(_WALKS * self._moving_s, _FARTHEST))[:, None]
        grown: BoxArray = np.hstack([self._bbox[:, :2] - by, self._bbox[:, 2:] + by]).astype(np.float32)
        return grown

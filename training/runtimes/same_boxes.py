"""Are two runs of a model the same: all that it computes before people are picked, and the people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.box_overlap import iou_matrix
from edge_app.records import Detections

LEAST_IOU, MOST_SCORE = 0.99, 1 / 128
# People under this score are not compared.
SCORE = 0.3
# Runtimes multiply by a scale in one order or another; half a step of an output is far more.
_NOTHING = 1e-5


@dataclass(frozen=True)
class Sameness:
    """How two runs differ.

    Attributes:
        people: found in the second run.
        least_iou, most_score: worst overlap and largest difference of a score.
        apart: people beyond the limits, lost or added.
        ties: how many of those are due to equal scores: all raw outputs are the same, and so is the person's score, but
            another anchor with that score was picked.
        anchors: share of anchors with another raw score or box encoding; None if they were not recorded.
        anchor_score: largest difference of an anchor's score.
    """

    people: int
    least_iou: float
    most_score: float
    apart: int
    ties: int
    anchors: float | None = None
    anchor_score: float | None = None

    @property
    def same(self) -> bool:
        """Nobody is beyond the limits, but for equal scores."""
        return self.apart == self.ties


def compare_people(expected: Sequence[Detections], found: Sequence[Detections]) -> Sameness:
    """Compare the people of frames.

    One whose score is at the threshold may cross it by a difference that is allowed.
    """
    people, apart, ties, least_iou, most_score = 0, 0, 0, 1.0, 0.0
    for wanted, got in zip(expected, found):
        sure = wanted[wanted.score >= SCORE + MOST_SCORE]
        people += int((got.score >= SCORE).sum())
        surplus = int((got.score >= SCORE + MOST_SCORE).sum()) - int((wanted.score >= SCORE).sum())
        apart += max(0, surplus)
        if len(sure) == 0 or len(got) == 0:
            apart += len(sure)
            least_iou = min(least_iou, 0.0) if len(sure) else least_iou
            continue
        overlaps = iou_matrix(sure.bbox.astype(float), got.bbox.astype(float))
        best, iou = overlaps.argmax(axis=1), overlaps.max(axis=1)
        score = np.abs(sure.score - got.score[best])
        shared = len(best) - len(set(best.tolist()))
        beyond = (iou < LEAST_IOU) | (score > MOST_SCORE)
        apart += int(beyond.sum()) + shared
        ties += int((beyond & (score == 0)).sum())
        least_iou, most_score = min(least_iou, float(iou.min())), max(most_score, float(score.max()))
    return Sameness(people, round(least_iou, 4), round(most_score, 4), apart, ties)


def compare_anchors(
    expected: tuple[NDArray[np.float32], NDArray[np.float32]], found: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[float, float]:
    """Compare box encodings (frames, anchors, 4) and class scores (frames, anchors, classes) before people are picked.

    Returns:
        The share of anchors that differ, and the largest difference of a score.
    """
    boxes, scores = (np.abs(a - b) for a, b in zip(expected, found))
    differs = (boxes > _NOTHING).any(axis=-1) | (scores > _NOTHING).any(axis=-1)
    return float(differs.mean()), float(scores.max())

"""Pairs of people closer than the threshold: what was found, and how sure that figure is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.records import BoolArray, FloatArray, IntArray
from training.scene_evaluation.alignment import AlignedFrame

_RESAMPLES = 2000
_SEED = 20090
_BLOCK_S = 10.0

Interval = tuple[float, float]


@dataclass(frozen=True)
class PairScores:
    """Counts of pairs per frame, summed over frames, and the rates that follow; NaN where a rate is undefined."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Part of the reported pairs that were close."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Part of the close pairs that were reported."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class PairIntervals:
    """Bootstrap 95 % intervals of the rates.

    Attributes:
        blocks: number of blocks that were drawn from; with few, the intervals are rough.
    """

    precision: Interval
    recall: Interval
    f1: Interval
    blocks: int


def distance_matrix(xy_m: FloatArray) -> FloatArray:
    """Return the (N, N) distances of (N, 2) points; NaN where a point is."""
    difference = xy_m[:, None] - xy_m[None]
    return np.hypot(difference[..., 0], difference[..., 1])


def count_track_pairs(frame: AlignedFrame, threshold_m: float) -> IntArray:
    """Count (true positives, false positives, false negatives) of the close pairs that the tracks of a frame report.

    A pair of tracks under the threshold is true if both show people of the ground truth who are under it as well.
    """
    return count_reported_pairs(frame, distance_matrix(frame.track_xy_m) < threshold_m, threshold_m)


def count_reported_pairs(frame: AlignedFrame, reported: BoolArray, threshold_m: float) -> IntArray:
    """Count as above, for any (M, M) statement on which tracks are close."""
    a, b = _reported_people(frame, reported)
    known = (a >= 0) & (b >= 0)
    is_close = distance_matrix(frame.person_xy_m) < threshold_m
    true_positives = int(is_close[a[known], b[known]].sum())
    close = int(np.triu(is_close, k=1).sum())
    return np.array([true_positives, len(a) - true_positives, close - true_positives])


def count_detection_errors(frame: AlignedFrame, threshold_m: float) -> IntArray:
    """Count the wrong and the missed pairs of a frame that are the detector's and tracker's doing, not the distance's.

    Returns:
        (wrong pairs with a track that shows nobody, missed pairs with a person whom no track shows).
    """
    a, b = _reported_people(frame, distance_matrix(frame.track_xy_m) < threshold_m)
    is_tracked = np.zeros(len(frame.person_id), np.bool_)
    is_tracked[frame.person_of_track[frame.person_of_track >= 0]] = True
    is_close = np.triu(distance_matrix(frame.person_xy_m) < threshold_m, k=1)
    return np.array([((a < 0) | (b < 0)).sum(), (is_close & ~np.outer(is_tracked, is_tracked)).sum()], np.int64)


def _reported_people(frame: AlignedFrame, reported: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the people (-1: nobody) whom the two tracks of every reported pair show."""
    first, second = np.triu_indices(len(frame.track_id), k=1)
    said = reported[first, second]
    return frame.person_of_track[first[said]], frame.person_of_track[second[said]]


def count_same_people(reported: BoolArray, is_close: BoolArray) -> IntArray:
    """Count as above where both (N, N) matrices are about the same people."""
    upper = np.triu_indices(len(is_close), k=1)
    found, true = reported[upper], is_close[upper]
    return np.array([(found & true).sum(), (found & ~true).sum(), (~found & true).sum()], np.int64)


def pair_scores(counts: IntArray) -> PairScores:
    """Sum (F, 3) counts of frames."""
    return PairScores(*counts.reshape(-1, 3).sum(axis=0).tolist())


def bootstrap_intervals(counts: IntArray, fps: float) -> PairIntervals:
    """Return 95 % percentile intervals of a block bootstrap over time.

    Neighbouring frames show the same people in nearly the same place, so frames are no independent samples. Whole
    blocks of ten seconds are drawn instead (non-overlapping block bootstrap: Carlstein, Annals of Statistics, 1986).

    Args:
        counts: (F, 3) true positives, false positives, false negatives of consecutive frames.
        fps: frames a second.
    """
    length = max(1, round(_BLOCK_S * fps))
    blocks = np.add.reduceat(counts, np.arange(0, len(counts), length), axis=0)
    generator = np.random.default_rng(_SEED)
    draws = generator.integers(len(blocks), size=(_RESAMPLES, len(blocks)))
    tp, fp, fn = blocks[draws].sum(axis=1).T.astype(np.float64)
    return PairIntervals(
        _interval(tp, tp + fp), _interval(tp, tp + fn), _interval(2 * tp, 2 * tp + fp + fn), len(blocks)
    )


def _interval(part: FloatArray, whole: FloatArray) -> Interval:
    rates = part[whole > 0] / whole[whole > 0]
    if len(rates) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

"""Distances between people as tracks give them, against the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from edge_app.records import FloatArray
from training.scene_evaluation.alignment import AlignedFrame, Alignment
from training.scene_evaluation.close_pairs import (
    PairIntervals,
    PairScores,
    bootstrap_intervals,
    count_detection_errors,
    count_track_pairs,
    distance_matrix,
    pair_scores,
)
from training.scene_evaluation.error_summary import NEAR_M, ErrorSummary


@dataclass(frozen=True)
class TrackPairs:
    """How well tracks tell distances.

    Attributes:
        close_pairs: pairs under the threshold, frame by frame.
        intervals: 95 % intervals of their rates.
        wrong_without_person: those of the wrong pairs in which a track shows nobody of the ground truth.
        missed_without_track: those of the missed pairs in which no track shows one of the two people.
        near_pair_distance: absolute error of the distance of two tracked people who are truly under 4 m apart.
    """

    close_pairs: PairScores
    intervals: PairIntervals
    wrong_without_person: int
    missed_without_track: int
    near_pair_distance: ErrorSummary


def measure_track_pairs(alignment: Alignment, threshold_m: float, fps: float) -> Optional[TrackPairs]:
    """Score the distances of tracks; None where the tracks have no positions (no calibration).

    Args:
        alignment: tracks and people, frame by frame.
        threshold_m: under which a pair is close.
        fps: frames a second.
    """
    positions = np.vstack([frame.track_xy_m for frame in alignment.frames])
    if len(positions) and not np.isfinite(positions).any():
        return None
    counts = np.array([count_track_pairs(frame, threshold_m) for frame in alignment.frames])
    errors = np.concatenate([_near_errors(frame) for frame in alignment.frames])
    wrong, missed = np.sum([count_detection_errors(frame, threshold_m) for frame in alignment.frames], axis=0).tolist()
    return TrackPairs(pair_scores(counts), bootstrap_intervals(counts, fps), wrong, missed, ErrorSummary.of(errors))


def _near_errors(frame: AlignedFrame) -> FloatArray:
    known = (frame.person_of_track >= 0) & np.isfinite(frame.track_xy_m).all(axis=1)
    first, second = np.triu_indices(int(known.sum()), k=1)
    measured = distance_matrix(frame.track_xy_m[known])[first, second]
    true = distance_matrix(frame.person_xy_m[frame.person_of_track[known]])[first, second]
    return np.abs(measured - true)[true < NEAR_M]

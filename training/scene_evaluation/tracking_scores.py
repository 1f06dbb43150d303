"""MOTA, IDF1 and their parts, by py-motmetrics."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from edge_app.errors import UserError
from training.scene_evaluation.alignment import MIN_IOU

_METRICS = (
    "mota",
    "idf1",
    "precision",
    "recall",
    "num_switches",
    "num_false_positives",
    "num_misses",
    "num_fragmentations",
    "num_objects",
    "num_predictions",
)


@dataclass(frozen=True)
class TrackingScores:
    """CLEAR MOT (Bernardin and Stiefelhagen 2008) and identity scores (Ristani et al. 2016) at IoU 0.5.

    Rates are 0 to 1 (MOTA may be negative), NaN where undefined; the rest are counts.
    """

    mota: float
    idf1: float
    precision: float
    recall: float
    switches: int
    false_positives: int
    misses: int
    fragmentations: int
    people_boxes: int
    track_boxes: int


def score_tracks(
    ground_truth: Path,
    tracks: Path,
    ignored: frozenset[tuple[int, int]],
    excerpt: Optional[tuple[int, int]] = None,
) -> TrackingScores:
    """Score tracks with py-motmetrics, which reads both files itself.

    Args:
        ground_truth: MOTChallenge file; rows flagged 0 do not count.
        tracks: MOTChallenge file.
        ignored: (frame, track id) of rows that are taken out of the tracks before scoring.
        excerpt: first and last frame of the ground truth that the tracks belong to; None for all.

    Raises:
        UserError: py-motmetrics is not installed.
    """
    motmetrics = _motmetrics()
    people = motmetrics.io.loadtxt(str(ground_truth), fmt="mot15-2D", min_confidence=1)
    if excerpt is not None:
        people = _excerpt(people, excerpt)
    # A video without people leaves an empty file, which the reader refuses.
    is_empty = not tracks.read_text(encoding="utf-8").strip()
    found = people.iloc[:0] if is_empty else motmetrics.io.loadtxt(str(tracks), fmt="mot15-2D")
    found = found[~found.index.isin(list(ignored))] if ignored else found
    accumulator = motmetrics.utils.compare_to_groundtruth(people, found, "iou", distth=1.0 - MIN_IOU)
    computed = motmetrics.metrics.create().compute(accumulator, metrics=list(_METRICS), return_dataframe=False)
    return TrackingScores(
        mota=float(computed["mota"]),
        idf1=float(computed["idf1"]),
        precision=float(computed["precision"]),
        recall=float(computed["recall"]),
        switches=int(computed["num_switches"]),
        false_positives=int(computed["num_false_positives"]),
        misses=int(computed["num_misses"]),
        fragmentations=int(computed["num_fragmentations"]),
        people_boxes=int(computed["num_objects"]),
        track_boxes=int(computed["num_predictions"]),
    )


def _excerpt(rows: Any, excerpt: tuple[int, int]) -> Any:
    first, last = excerpt
    frames = rows.index.get_level_values("FrameId")
    rows = rows[(frames >= first) & (frames <= last)].reset_index()
    rows["FrameId"] -= first - 1
    return rows.set_index(["FrameId", "Id"])


def _motmetrics() -> Any:
    try:
        return importlib.import_module("motmetrics")
    except ImportError as error:
        raise UserError("py-motmetrics is not installed; run pip install -e '.[dev]' first") from error

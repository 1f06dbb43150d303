"""HOTA (Luiten et al., IJCV 2021) and identity scores (Ristani et al., 2016), by TrackEval."""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray, IntArray
from training.scene_evaluation.scene_files import SceneRows


@dataclass(frozen=True)
class HotaScores:
    """Means over the IoU thresholds 0.05 to 0.95; IDF1 at 0.5. All 0 to 1.

    Attributes:
        hota: geometric mean of detection and association accuracy.
        det_a, ass_a: detection and association accuracy.
        loc_a: mean IoU of what was matched.
        idf1: identity F1.
    """

    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    idf1: float


def score_hota(people: SceneRows, tracks: SceneRows, *, every: int = 1) -> HotaScores:
    """Score tracks against ground truth.

    Args:
        people: ground truth; rows with score 0 do not count.
        tracks: found, of the same video.
        every: only the frames 1, 1 + every, … were analysed, and only they count.

    Raises:
        UserError: TrackEval is not installed, or no frame has people who count.
    """
    trackeval = _trackeval()
    people = people[people.score >= 1]
    people, tracks = (rows[(rows.frame - 1) % every == 0] for rows in (people, tracks))
    if len(people) == 0:
        raise UserError("the ground truth has nobody who counts; give one with people")
    data = _data(people, tracks)
    with contextlib.redirect_stdout(io.StringIO()):
        hota = trackeval.metrics.HOTA().eval_sequence(data)
        identity = trackeval.metrics.Identity({"THRESHOLD": 0.5, "PRINT_CONFIG": False}).eval_sequence(data)
    hota_mean, det_a, ass_a, loc_a = (float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA", "LocA"))
    return HotaScores(hota_mean, det_a, ass_a, loc_a, float(identity["IDF1"]))


def _data(people: SceneRows, tracks: SceneRows) -> dict[str, Any]:
    """Return both in TrackEval's form: ids from 0, one array a frame, IoU of every person with every track."""
    frames = np.union1d(people.frame, tracks.frame)
    people_ids, people_index = np.unique(people.id, return_inverse=True)
    track_ids, track_index = np.unique(tracks.id, return_inverse=True)
    of_people = [np.flatnonzero(people.frame == frame) for frame in frames]
    of_tracks = [np.flatnonzero(tracks.frame == frame) for frame in frames]
    return {
        "num_gt_dets": len(people),
        "num_tracker_dets": len(tracks),
        "num_gt_ids": len(people_ids),
        "num_tracker_ids": len(track_ids),
        "num_timesteps": len(frames),
        "gt_ids": [_ids(people_index, rows) for rows in of_people],
        "tracker_ids": [_ids(track_index, rows) for rows in of_tracks],
        "similarity_scores": [
            _iou(people.bbox[rows], tracks.bbox[columns]) for rows, columns in zip(of_people, of_tracks)
        ],
    }


def _ids(index: Any, rows: IntArray) -> IntArray:
    return np.asarray(index, np.int64)[rows]


def _iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (N, M) overlaps of (N, 4) with (M, 4) boxes, xyxy."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    return shared / np.maximum(area[0][:, None] + area[1][None] - shared, 1e-12)


def _trackeval() -> Any:
    try:
        return importlib.import_module("trackeval")
    except ImportError as error:
        raise UserError("TrackEval is not installed; run pip install -e '.[dev]' first") from error

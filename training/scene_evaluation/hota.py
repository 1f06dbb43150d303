"""HOTA (Luiten et al., IJCV 2021) and identity scores (Ristani et al., 2016) of tracks.

TrackEval, its authors' own library, needs a newer NumPy than py-motmetrics can run with, so the two cannot be installed
together; these are its definitions, and gave its figures on PETS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge_app.box_overlap import iou_matrix
from edge_app.errors import UserError
from edge_app.records import FloatArray, IntArray
from training.scene_evaluation.scene_files import SceneRows

_THRESHOLDS = np.arange(0.05, 0.99, 0.05)
_IDENTITY_IOU = 0.5
_ROUNDING = 1e-9


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
        UserError: no frame has people who count.
    """
    people = people[people.score >= 1]
    people, tracks = (rows[(rows.frame - 1) % every == 0] for rows in (people, tracks))
    if len(people) == 0:
        raise UserError("the ground truth has nobody who counts; give one with people")
    scene = _scene(people, tracks)
    det_a, ass_a, loc_a = _by_threshold(scene)
    return HotaScores(
        float(np.sqrt(det_a * ass_a).mean()), float(det_a.mean()), float(ass_a.mean()), float(loc_a.mean()),
        _idf1(scene),
    )  # fmt: skip


@dataclass(frozen=True)
class _Scene:
    """Frames as (person numbers, track numbers, their (N, M) IoU), and in how many frames each of both is."""

    frames: list[tuple[IntArray, IntArray, FloatArray]]
    people: FloatArray
    tracks: FloatArray


def _scene(people: SceneRows, tracks: SceneRows) -> _Scene:
    people_ids, person = np.unique(people.id, return_inverse=True)
    track_ids, track = np.unique(tracks.id, return_inverse=True)
    frames = []
    for frame in np.union1d(people.frame, tracks.frame):
        rows, columns = np.flatnonzero(people.frame == frame), np.flatnonzero(tracks.frame == frame)
        iou = iou_matrix(people.bbox[rows], tracks.bbox[columns])
        frames.append((_ids(person, rows), _ids(track, columns), iou))
    counts = (np.bincount(ids, minlength=count) for ids, count in ((person, len(people_ids)), (track, len(track_ids))))
    return _Scene(frames, *(count.astype(np.float64) for count in counts))


def _by_threshold(scene: _Scene) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return detection accuracy, association accuracy and mean IoU at each threshold."""
    shape = (len(scene.people), len(scene.tracks))
    both = scene.people[:, None] + scene.tracks[None]
    likely = np.zeros(shape)
    for persons, tracks, iou in scene.frames:
        rivals = iou.sum(axis=0)[None] + iou.sum(axis=1)[:, None] - iou
        likely[np.ix_(persons, tracks)] += iou / np.maximum(rivals, _ROUNDING)
    # Frames are matched for the association of the whole video, not each for itself.
    alignment = likely / np.maximum(both - likely, _ROUNDING)
    matched = np.zeros((len(_THRESHOLDS), *shape))
    overlap = np.zeros(len(_THRESHOLDS))
    for persons, tracks, iou in scene.frames:
        rows, columns = linear_sum_assignment(alignment[np.ix_(persons, tracks)] * iou, maximize=True)
        for index, threshold in enumerate(_THRESHOLDS):
            good = iou[rows, columns] >= threshold - _ROUNDING
            matched[index, persons[rows[good]], tracks[columns[good]]] += 1
            overlap[index] += iou[rows[good], columns[good]].sum()
    hits = matched.sum(axis=(1, 2))
    det_a = hits / (scene.people.sum() + scene.tracks.sum() - hits)
    ass_a = (matched**2 / np.maximum(both - matched, 1.0)).sum(axis=(1, 2)) / np.maximum(hits, 1.0)
    # Nothing matched counts as a perfect overlap there.
    loc_a = np.where(hits > 0, overlap / np.maximum(hits, 1.0), 1.0)
    return det_a, ass_a, loc_a


def _idf1(scene: _Scene) -> float:
    """Give every person the one track that is right most often; IDF1 of that."""
    together = np.zeros((len(scene.people), len(scene.tracks)))
    for persons, tracks, iou in scene.frames:
        together[np.ix_(persons, tracks)] += iou >= _IDENTITY_IOU
    rows, columns = linear_sum_assignment(together, maximize=True)
    return float(2 * together[rows, columns].sum() / (scene.people.sum() + scene.tracks.sum()))


def _ids(index: Any, rows: IntArray) -> IntArray:
    return np.asarray(index, np.int64)[rows]

"""Which track box shows which person of the ground truth, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.records import FloatArray, IntArray
from edge_app.tracking.association import assign
from training.evaluation.ignore_regions import IgnoreRegions
from training.scene_evaluation.scene_files import SceneRows

# The overlap that MOTChallenge asks of a box.
MIN_IOU = 0.5
# How near to a person a track must be on the ground, as the 3D benchmark of MOTChallenge 2015 asks.
GROUND_M = 1.0


@dataclass(frozen=True)
class AlignedFrame:
    """One frame of ground truth (N people that count) and tracks (M, those to be ignored already removed).

    Attributes:
        frame: number, from 1.
        person_id: (N,) identities of the ground truth.
        person_xy_m: (N, 2) metres.
        track_id: (M,) identities of the tracks.
        track_xy_m: (M, 2) metres, NaN without a position.
        person_of_track: (M,) index into the people, -1 for a track that shows nobody of them.
    """

    frame: int
    person_id: IntArray
    person_xy_m: FloatArray
    track_id: IntArray
    track_xy_m: FloatArray
    person_of_track: IntArray


@dataclass(frozen=True)
class Alignment:
    """All frames of a scene, and what was taken out of the tracks.

    Attributes:
        frames: every frame of the scene, from 1, also those without people.
        ignored: (frame, track id) of boxes that showed people who do not count.
    """

    frames: tuple[AlignedFrame, ...]
    ignored: frozenset[tuple[int, int]]


def align(
    people: SceneRows,
    tracks: SceneRows,
    frames: int,
    regions: Optional[IgnoreRegions] = None,
    on_ground: bool = False,
) -> Alignment:
    """Match tracks to people in every frame: as many pairs of IoU >= 0.5 as possible, then the best overlap.

    As MOTChallenge does, boxes are matched to all annotated people first; those on people who are flagged 0 are then
    removed, neither right nor wrong. With ``regions``, so are boxes that show nobody and lie where nobody is annotated.

    Args:
        people: ground truth.
        tracks: what was found.
        frames: number of frames of the scene.
        regions: where nobody is annotated.
        on_ground: match those who are less than 1 m apart on the ground instead, the nearest first; both must be in
            one frame of coordinates.
    """
    aligned_frames: list[AlignedFrame] = []
    ignored: list[tuple[int, int]] = []
    for frame in range(1, frames + 1):
        here = people[people.frame == frame]
        seen = tracks[tracks.frame == frame]
        aligned, dropped = _align_frame(frame, here, seen, regions, on_ground)
        aligned_frames.append(aligned)
        ignored += [(frame, int(track_id)) for track_id in dropped]
    return Alignment(tuple(aligned_frames), frozenset(ignored))


def _align_frame(
    frame: int, people: SceneRows, tracks: SceneRows, regions: Optional[IgnoreRegions], on_ground: bool
) -> tuple[AlignedFrame, IntArray]:
    person_of_track = _match(_distances(people, tracks) if on_ground else _overlaps(people, tracks))
    counts = people.score >= 1
    is_matched = person_of_track >= 0
    ignored = is_matched.copy()
    ignored[is_matched] = ~counts[person_of_track[is_matched]]
    if regions is not None:
        ignored |= ~is_matched & regions.covers(tracks.bbox)
    kept = person_of_track[~ignored]
    # Indices into the people that count; the appended -1 keeps "nobody" (index -1) what it is.
    new_index = np.append(np.cumsum(counts) - 1, -1)
    aligned = AlignedFrame(
        frame,
        people.id[counts],
        people.xy_m[counts],
        tracks.id[~ignored],
        tracks.xy_m[~ignored],
        new_index[kept],
    )
    return aligned, tracks.id[ignored]


def _overlaps(people: SceneRows, tracks: SceneRows) -> FloatArray:
    iou = iou_matrix(people.bbox, tracks.bbox)
    return np.where(iou >= MIN_IOU, 1.0 - iou, np.inf)


def _distances(people: SceneRows, tracks: SceneRows) -> FloatArray:
    apart_m = np.linalg.norm(people.xy_m[:, None] - tracks.xy_m[None], axis=2)
    return np.where(apart_m < GROUND_M, apart_m, np.inf)


def _match(cost: FloatArray) -> IntArray:
    """Return for each column of (people, tracks) costs, the track, the index of its person, -1 for none."""
    rows, columns = assign(cost)
    person_of_track = np.full(cost.shape[1], -1, np.int64)
    person_of_track[columns] = rows
    return person_of_track

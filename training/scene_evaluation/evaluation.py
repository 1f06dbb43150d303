"""The whole evaluation of a scene: reading, aligning and scoring in their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.calibration import load_camera
from edge_app.config import EventConfig
from edge_app.errors import UserError
from edge_app.records import FloatArray
from training.evaluation.ignore_regions import IgnoreRegions
from training.scene_evaluation.alignment import GROUND_M, AlignedFrame, Alignment, align
from training.scene_evaluation.camera_accuracy import CameraAccuracy, measure_camera, measure_older_formulas
from training.scene_evaluation.close_pairs import PairScores
from training.scene_evaluation.event_scores import read_events, score_events, true_events
from training.scene_evaluation.scene_files import (
    SceneRows,
    read_ground_truth,
    read_ignore_regions,
    read_summary,
    read_tracks,
)
from training.scene_evaluation.track_pairs import TrackPairs, measure_track_pairs
from training.scene_evaluation.tracking_scores import TrackingScores, score_tracks


@dataclass(frozen=True)
class SceneInputs:
    """What to evaluate.

    Attributes:
        ground_truth: MOTChallenge file with world coordinates.
        tracks: ``tracks.txt`` of an analysis.
        camera: camera file for the figures with perfect boxes; None leaves them out.
        fps: true frame rate; None takes it from ``summary.json`` beside the tracks.
        threshold_m: under which a pair is close.
        ignore: COCO JSON that says where people are not annotated, for a second variant of the figures.
        events: ``events.csv`` of the same analysis; None leaves the figures on events out.
        event_rules: under which that analysis made events.
        excerpt: first and last frame of the ground truth that the video shows; None for all.
    """

    ground_truth: Path
    tracks: Path
    camera: Optional[Path] = None
    fps: Optional[float] = None
    threshold_m: float = 2.0
    ignore: Optional[Path] = None
    events: Optional[Path] = None
    event_rules: EventConfig = field(default_factory=EventConfig)
    excerpt: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Variant:
    """Figures of the tracks: ``pairs`` is None for tracks without positions, ``events`` where none were given.

    Attributes:
        tracking: identities.
        pairs: distances, people matched by the overlap of boxes.
        events: of violations, people matched likewise.
        ground_pairs, ground_events: the same with people matched by their distance on the ground; None too where tracks
            have positions in another frame of coordinates than the ground truth.
    """

    tracking: TrackingScores
    pairs: Optional[TrackPairs]
    events: Optional[PairScores]
    ground_pairs: Optional[TrackPairs] = None
    ground_events: Optional[PairScores] = None


@dataclass(frozen=True)
class SceneReport:
    """All figures.

    Attributes:
        frames: number of frames evaluated.
        fps: frames a second.
        people: number of different people who count.
        threshold_m: under which a pair is close.
        plain: as MOTChallenge scores.
        ignoring: without boxes that lie where nobody is annotated; None where no regions were given.
        camera: the camera alone, with perfect boxes; None without a camera.
        older_formulas: the older app's distances on perfect boxes, for comparison.
    """

    frames: int
    fps: float
    people: int
    threshold_m: float
    plain: Variant
    ignoring: Optional[Variant]
    camera: Optional[CameraAccuracy]
    older_formulas: dict[str, PairScores]


def evaluate(inputs: SceneInputs) -> SceneReport:
    """Evaluate tracks and distances of one scene.

    Raises:
        UserError: an input is missing or malformed, or the inputs are not of the same video.
    """
    people, frames = _people(inputs)
    tracks = read_tracks(inputs.tracks)
    regions = None if inputs.ignore is None else read_ignore_regions(inputs.ignore)
    found_events = None if inputs.events is None else read_events(inputs.events)
    camera = None if inputs.camera is None else load_camera(inputs.camera)
    summary = read_summary(inputs.tracks)
    _check_same_video(inputs, frames, tracks, summary)
    fps = _fps(inputs, summary)

    def variant(ignored_regions: Optional[IgnoreRegions]) -> Variant:
        alignment = align(people, tracks, frames, ignored_regions)
        tracking = score_tracks(inputs.ground_truth, inputs.tracks, alignment.ignored, inputs.excerpt)
        figures = distances(alignment)
        if not _in_one_frame(alignment):
            return Variant(tracking, *figures)
        return Variant(tracking, *figures, *distances(align(people, tracks, frames, ignored_regions, on_ground=True)))

    def distances(alignment: Alignment) -> tuple[Optional[TrackPairs], Optional[PairScores]]:
        events = None
        if found_events is not None:
            true = true_events(alignment, fps, inputs.threshold_m, inputs.event_rules)
            events = score_events(found_events, true, alignment, fps)
        return measure_track_pairs(alignment, inputs.threshold_m, fps), events

    return SceneReport(
        frames=frames,
        fps=fps,
        people=len(np.unique(people.id[people.score >= 1])),
        threshold_m=inputs.threshold_m,
        plain=variant(None),
        ignoring=None if regions is None else variant(regions),
        camera=None if camera is None else measure_camera(people, camera, inputs.threshold_m),
        older_formulas=measure_older_formulas(people, inputs.threshold_m),
    )


def _in_one_frame(alignment: Alignment) -> bool:
    """Tell whether most tracks stand where those do whom their boxes show: else the camera has axes of its own."""
    apart_m = np.concatenate([_from_their_people_m(frame) for frame in alignment.frames])
    return len(apart_m) > 0 and bool(np.median(apart_m) < GROUND_M)


def _from_their_people_m(frame: AlignedFrame) -> FloatArray:
    """Return how far the tracks that show somebody stand from that person, metres."""
    known = frame.person_of_track >= 0
    people_xy_m = frame.person_xy_m[frame.person_of_track[known]]
    return np.linalg.norm(people_xy_m - frame.track_xy_m[known], axis=1)


def _people(inputs: SceneInputs) -> tuple[SceneRows, int]:
    """Return the ground truth of the video and the video's number of frames."""
    people = read_ground_truth(inputs.ground_truth)
    last_annotated = int(people.frame.max())
    if inputs.excerpt is None:
        return people, last_annotated
    first, last = inputs.excerpt
    if last > last_annotated:
        raise UserError(
            f"ground truth {inputs.ground_truth} ends at frame {last_annotated}, before the end of the excerpt "
            f"{first}:{last}; correct --excerpt"
        )
    return people.excerpt(first, last), last - first + 1


def _check_same_video(inputs: SceneInputs, frames: int, tracks: SceneRows, summary: Optional[dict[str, Any]]) -> None:
    remedy = "give both of the same video, and --excerpt FIRST:LAST for a part of it"
    last = int(tracks.frame.max(initial=0))
    if last > frames:
        raise UserError(f"tracks {inputs.tracks} go on to frame {last} but the ground truth to {frames}; {remedy}")
    if summary is None:
        return
    decoded, analysed = summary.get("frames"), summary.get("frames_analysed")
    if analysed != decoded:
        raise UserError(f"tracks {inputs.tracks} are of {analysed} of {decoded} frames; analyse every frame")
    if isinstance(decoded, int) and decoded < frames:
        raise UserError(
            f"tracks {inputs.tracks} are of a video of {decoded} frames but the ground truth has {frames}; {remedy}"
        )


def _fps(inputs: SceneInputs, summary: Optional[dict[str, Any]]) -> float:
    if inputs.fps is not None:
        return inputs.fps
    stated = None if summary is None else summary.get("fps")
    if not isinstance(stated, (int, float)) or stated <= 0:
        raise UserError(f"no summary.json beside {inputs.tracks} states the frame rate; give the true one with --fps")
    return float(stated)

"""One scene through several calibrations: perfect boxes, and the device's own detections and tracks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from tqdm import tqdm

from edge_app.calibration import CameraModel, PinholeCamera
from edge_app.calibration.self_calibrator import SelfCalibration, SelfCalibrator
from edge_app.config import Config
from edge_app.detector import Detector, detect, load_detector
from edge_app.distances import measure_pairs
from edge_app.errors import UserError
from edge_app.events import EventDetector
from edge_app.ground_plane import locate
from edge_app.hindsight import Recording
from edge_app.pipeline import Pipeline
from edge_app.records import Detections, FloatArray, Frame, FrameResult, Pairs, Tracks, ViolationEvent
from edge_app.source import VideoFile
from edge_app.tiles.tiled_detector import with_tiles
from training.evaluation.ignore_regions import IgnoreRegions
from training.scene_evaluation.alignment import Alignment, align
from training.scene_evaluation.close_pairs import PairScores, count_reported_pairs, pair_scores
from training.scene_evaluation.error_summary import NEAR_M, ErrorSummary
from training.scene_evaluation.event_scores import Event, score_events, true_events
from training.scene_evaluation.older_formulas import OLDER_FORMULAS
from training.scene_evaluation.scene_files import SceneRows
from training.scene_evaluation.track_pairs import measure_track_pairs

_SD_OF_90 = 1.6449


@dataclass(frozen=True)
class Ground:
    """Ground truth of a scene.

    Attributes:
        people: annotated boxes with places.
        frames: number of frames of the scene.
        fps: frames a second.
        regions: where nobody is annotated, if that is known.
    """

    people: SceneRows
    frames: int
    fps: float
    regions: Optional[IgnoreRegions] = None


@dataclass(frozen=True)
class Figures:
    """How good distances are with one calibration.

    Attributes:
        calibration: what it is.
        close_pairs: pairs under the threshold, frame by frame.
        events: violation events, matched by an overlap in time of at least a half.
        near_distance: absolute error of the distance of two people who are truly under 4 m apart.
        coverage_90: part of these whose true distance is inside the stated 90 % interval; NaN without any.
    """

    calibration: str
    close_pairs: PairScores
    events: PairScores
    near_distance: ErrorSummary
    coverage_90: float


@dataclass(frozen=True)
class SeenPeople:
    """What the detector found in whole pictures of ``size`` (width, height): of each frame of a video."""

    frames: tuple[Detections, ...]
    size: tuple[int, int]
    detector: Detector
    video: Path
    fps: float

    def pictures(self, purpose: str) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame once more with what was found in it."""
        source = VideoFile(self.video, fps=self.fps)
        bar = tqdm(source, total=len(self.frames), unit="frame", desc=purpose, disable=None)
        yield from zip(bar, self.frames)


@dataclass(frozen=True)
class Run:
    """What the device says of a scene: rows as in ``tracks.txt``, pairs of each frame (from 1), and events."""

    rows: SceneRows
    pairs: dict[int, Pairs]
    events: tuple[Event, ...]


def perfect_tracks(people: SceneRows, frames: int) -> Iterator[tuple[int, Tracks]]:
    """Yield each frame's number, from 1, and the annotated people who count as tracks without noise."""
    people = people[people.score >= 1]
    for frame in range(1, frames + 1):
        here = people[people.frame == frame]
        count = len(here)
        foot = np.column_stack([(here.bbox[:, 0] + here.bbox[:, 2]) / 2, here.bbox[:, 3]])
        bbox = here.bbox.astype(np.float32)
        scores, covariance = np.ones(count, np.float32), np.zeros((count, 2, 2))
        yield frame, Tracks(here.id, bbox, scores, foot, covariance, np.ones(count, np.bool_))


def run_perfect(ground: Ground, camera: CameraModel, config: Config) -> Run:
    """Send perfect boxes through the device's ground plane, distances and events."""
    detector = EventDetector(config.distance.threshold_m, config.events)
    places: list[SceneRows] = []
    pairs: dict[int, Pairs] = {}
    events: list[ViolationEvent] = []
    for frame, tracks in perfect_tracks(ground.people, ground.frames):
        here = locate(camera, tracks)
        pairs[frame] = measure_pairs(tracks.id, here, config.distance.threshold_m)
        events += detector.update((frame - 1) / ground.fps, pairs[frame])
        places.append(_rows(frame, tracks, here.xy_m))
    events += detector.finish()
    return Run(_joined(places), pairs, _times(events))


def run_detections(seen_people: SeenPeople, camera: CameraModel, config: Config) -> Run:
    """Send a video through the device's whole pipeline, with the tiles that this calibration asks for."""
    detector = with_tiles(seen_people.detector, config.tiles, camera, in_real_time=False)
    pipeline = Pipeline(config, detector, camera)
    recording = Recording(pipeline, config)
    rows: list[SceneRows] = []
    pairs: dict[int, Pairs] = {}
    results: list[FrameResult] = []
    for frame, found in seen_people.pictures("tracking"):
        pipeline.watch(frame)
        has_tiles = detector is not seen_people.detector
        people = detect(detector, frame.image) if has_tiles else found
        results += recording.add(frame.index, frame.time_s, people)
    last, events = recording.finish()
    for result in results + last:
        seen = result.tracks.present
        rows.append(_rows(result.index + 1, result.tracks[seen], result.ground.xy_m[seen]))
        pairs[result.index + 1] = result.pairs
    closed = [event for result in results + last for event in result.closed_events]
    return Run(_joined(rows), pairs, _times([*closed, *events]))


def detect_all(video: Path, fps: float, config: Config, frames: int) -> SeenPeople:
    """Run the detector on each frame of a video.

    Raises:
        UserError: the video cannot be read, or has another number of frames than the ground truth.
    """
    source = VideoFile(video, fps=fps)
    detector = load_detector(config.model)
    found = [detect(detector, frame.image) for frame in tqdm(source, unit="frame", desc="detecting", disable=None)]
    if len(found) < frames:
        raise UserError(f"{video} has {len(found)} frames but the ground truth {frames}; give both of the same video")
    return SeenPeople(tuple(found[:frames]), (source.width, source.height), detector, video, fps)


def uncalibrated_tracks(seen_people: SeenPeople, config: Config) -> Iterator[tuple[int, Tracks]]:
    """Yield frames and tracks as self-calibration sees them."""
    pipeline = Pipeline(config, seen_people.detector, None)
    for frame, found in seen_people.pictures("self-calibrating"):
        pipeline.watch(frame)
        yield frame.index + 1, pipeline.interpret(frame.index, frame.time_s, found).tracks


def self_calibrate(
    tracks: Iterable[tuple[int, Tracks]], fps: float, size: tuple[int, int], hfov_deg: Optional[float]
) -> Optional[SelfCalibration]:
    """Return what the tracks say of the camera; None if nobody was seen whole."""
    calibrator = SelfCalibrator(*size, hfov_deg=hfov_deg)
    for frame, seen in tracks:
        calibrator.add((frame - 1) / fps, seen)
    return calibrator.result()


def describe(found: SelfCalibration, hfov_deg: Optional[float]) -> str:
    """Return a calibration in words."""
    given = "field of view not given" if hfov_deg is None else f"field of view given ({hfov_deg:.1f}°)"
    unsure = f"; NOT SURE: {found.unsure}" if found.unsure else ""
    return (
        f"self-calibrated, {given}: {found.height_m:.2f} ± {found.sigma['height_m']:.2f} m high, tilt "
        f"{found.tilt_deg:.1f} ± {found.sigma['tilt_deg']:.1f}°, field of view {found.hfov_deg:.1f} ± "
        f"{found.sigma['hfov_deg']:.1f}°, 2 m known to {100 * found.distance_sigma:.1f} %{unsure}"
    )


def horizontal_field_deg(camera: CameraModel) -> Optional[float]:
    """Return the angle between the rays at the left and right edges of the picture; None for a homography."""
    if not isinstance(camera, PinholeCamera):
        return None
    middle = camera.image_height / 2
    x = camera.normalise(np.array([[0.0, middle], [float(camera.image_width), middle]]))[:, 0]
    return float(np.rad2deg(np.arctan(x[1]) - np.arctan(x[0])))


def score(run: Run, ground: Ground, name: str, config: Config) -> Figures:
    """Compare what the device says with the truth."""
    alignment = align(ground.people, run.rows, ground.frames, ground.regions)
    threshold_m = config.distance.threshold_m
    true = true_events(alignment, ground.fps, threshold_m, config.events)
    pairs = measure_track_pairs(alignment, threshold_m, ground.fps)
    if pairs is None:
        raise UserError(f"{name}: nobody has a position on the ground; check the camera")
    return Figures(
        name,
        pairs.close_pairs,
        score_events(run.events, true, alignment, ground.fps),
        pairs.near_pair_distance,
        _coverage(alignment, run.pairs),
    )


def older_on_tracks(rows: SceneRows, ground: Ground, threshold_m: float) -> dict[str, PairScores]:
    """Score the older app's distances on given boxes: the same matching, its formulas in place of ours."""
    alignment = align(ground.people, rows, ground.frames, ground.regions)
    boxes = {(int(f), int(i)): box for f, i, box in zip(rows.frame, rows.id, rows.bbox)}
    scores = {}
    for name, formula in OLDER_FORMULAS.items():
        counts = []
        for frame in alignment.frames:
            here = np.array([boxes[frame.frame, i] for i in frame.track_id.tolist()]).reshape(-1, 4)
            counts.append(count_reported_pairs(frame, formula(here) < threshold_m, threshold_m))
        scores[name] = pair_scores(np.array(counts))
    return scores


def _rows(frame: int, tracks: Tracks, xy_m: FloatArray) -> SceneRows:
    numbers = np.full(len(tracks), frame, np.int64)
    return SceneRows(numbers, tracks.id, tracks.bbox.astype(np.float64), tracks.score.astype(np.float64), xy_m)


def _joined(parts: list[SceneRows]) -> SceneRows:
    names = ("frame", "id", "bbox", "score", "xy_m")
    return SceneRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _times(events: list[ViolationEvent]) -> tuple[Event, ...]:
    return tuple(Event(event.id_a, event.id_b, event.start_s, event.end_s) for event in events)


def _coverage(alignment: Alignment, pairs: dict[int, Pairs]) -> float:
    """Return the part of near pairs of two known people whose true distance is in the stated 90 % interval.

    Distances that are said to be exact (perfect boxes, a calibration without a stated error) have no interval.
    """
    inside: list[bool] = []
    for frame in alignment.frames:
        person = dict(zip(frame.track_id.tolist(), frame.person_of_track.tolist()))
        said = pairs.get(frame.frame, Pairs.empty())
        for a, b, distance_m, sigma_m in zip(said.id_a, said.id_b, said.distance_m, said.sigma_m):
            first, second = person.get(int(a), -1), person.get(int(b), -1)
            if first < 0 or second < 0:
                continue
            true_m = float(np.hypot(*(frame.person_xy_m[first] - frame.person_xy_m[second])))
            if true_m < NEAR_M and sigma_m > 0:
                inside.append(abs(distance_m - true_m) <= _SD_OF_90 * sigma_m)
    return float(np.mean(inside)) if inside else float("nan")

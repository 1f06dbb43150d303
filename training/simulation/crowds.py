"""How well people, pairs and events are told from what a detector sees, mistakes included: simulated crowds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.config import Config
from edge_app.records import FrameResult, IntArray, ViolationEvent
from training.scene_evaluation.alignment import align
from training.scene_evaluation.close_pairs import PairScores, count_track_pairs
from training.scene_evaluation.event_scores import Event, score_events, true_events
from training.scene_evaluation.hota import score_hota
from training.scene_evaluation.scene_files import SceneRows
from training.simulation.recordings import recording_of
from training.simulation.scenes import Crowd, SeenFrame, random_scene, walking_people
from training.simulation.seen_by_detector import DetectorModel, detections_of


@dataclass(frozen=True)
class CrowdScores:
    """Counts of one scene.

    Attributes:
        boxes: boxes of tracks, against people who are shown.
        pairs: under the threshold, frame by frame.
        events: of violations.
        idf1: identity F1.
    """

    boxes: PairScores
    pairs: PairScores
    events: PairScores
    idf1: float


def simulate_crowd(
    seed: int, crowd: Crowd, model: DetectorModel, config: Config, *, in_hindsight: bool = False
) -> CrowdScores:
    """Draw a camera, let people walk before it, detect, track and measure them, and compare with the truth.

    Args:
        seed: of everything; the same gives the same detections whatever the configuration.
        crowd: how people walk.
        model: how the detector errs.
        config: of tracker, events and distance.
        in_hindsight: judge as in a recording, not at once.
    """
    generator = np.random.default_rng(seed)
    scene = random_scene(generator)
    frames = walking_people(scene, crowd, generator)
    recording = recording_of(scene.camera, config, in_hindsight=in_hindsight)
    people, tracks = [_NO_ROWS], [_NO_ROWS]
    results: list[FrameResult] = []
    count = 0
    for frame, detections, counted in detections_of(scene, frames, 1 / crowd.fps, model, generator):
        results += recording.add(count, frame.time_s, detections)
        count += 1
        people.append(_truth(count, frame, counted))
    last, open_events = recording.finish()
    tracks += [_found(result.index + 1, result) for result in results + last]
    events = [event for result in results + last for event in result.closed_events]
    events += open_events
    return _scores(np.concatenate(people), np.concatenate(tracks), events, count, crowd.fps, config)


# frame, id, box, score, place
_NO_ROWS = np.zeros((0, 9))


def _truth(number: int, frame: SeenFrame, counted: np.ndarray) -> np.ndarray:
    ids = frame.tracks.id
    place = frame.ground_m[ids - 1]
    box = frame.exact_bbox
    return np.column_stack([np.full(len(ids), number), ids, box, counted.astype(float), place])


def _found(number: int, result: FrameResult) -> np.ndarray:
    seen = result.tracks.present
    tracks = result.tracks[seen]
    place = result.ground.xy_m[seen]
    return np.column_stack([np.full(len(tracks), number), tracks.id, tracks.bbox, np.ones(len(tracks)), place])


def _rows(table: np.ndarray) -> SceneRows:
    ids: IntArray = table[:, 1].astype(np.int64)
    return SceneRows(table[:, 0].astype(np.int64), ids, table[:, 2:6], table[:, 6], table[:, 7:9])


def _scores(
    people: np.ndarray, tracks: np.ndarray, events: list[ViolationEvent], count: int, fps: float, config: Config
) -> CrowdScores:
    true_rows, found_rows = _rows(people), _rows(tracks)
    alignment = align(true_rows, found_rows, count)
    threshold_m = config.distance.threshold_m
    pairs = np.sum([count_track_pairs(frame, threshold_m) for frame in alignment.frames], axis=0)
    matched = sum(int((frame.person_of_track >= 0).sum()) for frame in alignment.frames)
    shown = sum(len(frame.person_id) for frame in alignment.frames)
    said = sum(len(frame.track_id) for frame in alignment.frames)
    found = tuple(Event(event.id_a, event.id_b, event.start_s, event.end_s) for event in events)
    truth = true_events(alignment, fps, threshold_m, config.events)
    return CrowdScores(
        PairScores(matched, said - matched, shown - matched),
        PairScores(*pairs.tolist()),
        score_events(found, truth, alignment, fps),
        score_hota(true_rows, found_rows).idf1 if shown else float("nan"),
    )

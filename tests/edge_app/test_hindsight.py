from __future__ import annotations

import numpy as np
import pytest

from edge_app.calibration import save_camera
from edge_app.config import Config, ModelConfig, TrackerConfig
from edge_app.hindsight import Recording
from edge_app.pipeline import Pipeline
from edge_app.records import Detections
from edge_app.render.privacy import people_boxes
from edge_app.tracking.motion import Measurements, MotionState
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down
from tests.edge_app.test_pipeline import NoModel

CAMERA = camera_looking_down(height_m=3.0, tilt_deg=20.0)
FPS = 7
HEIGHT_PX = 100.0


def recorded(frames, config=None, camera=CAMERA):
    """Send detections of all frames through a recording."""
    config = config or Config()
    recording = Recording(Pipeline(config, NoModel(), camera), config)
    results = []
    for index, detections in enumerate(frames):
        results += recording.add(index, index / FPS, detections)
    last, events = recording.finish()
    return results + last, events, recording


def at_once(frames, camera=CAMERA):
    pipeline = Pipeline(Config(), NoModel(), camera)
    return [pipeline.interpret(index, index / FPS, detections) for index, detections in enumerate(frames)]


def walker(seconds, without=(), score=0.9, noise_px=0.0, seed=5):
    """One person who walks to the side at 1.4 m/s; missed in the frames ``without``; errors are alike for 0.3 s."""
    generator = np.random.default_rng(seed)
    keep = np.exp(-1 / FPS / 0.3)
    error = generator.normal(0, noise_px, 4)
    frames = []
    for index in range(int(seconds * FPS)):
        seen = boxes_of_people(CAMERA, np.array([[-4.0 + 1.4 * index / FPS, 7.0]]))
        found = Detections((seen.bbox + error).astype(np.float32), np.full(1, score, np.float32))
        frames.append(Detections.empty() if index in without else found)
        error = keep * error + np.sqrt(1 - keep**2) * generator.normal(0, noise_px, 4)
    return frames


def test_every_frame_comes_once_and_in_order_and_events_come_in_time():
    results, _, _ = recorded(walker(20))
    assert [result.index for result in results] == list(range(20 * FPS))
    assert [result.time_s for result in results] == [index / FPS for index in range(20 * FPS)]


def test_a_person_is_there_from_the_first_detection_on_though_the_tracker_waits():
    frames = walker(6, score=0.5)
    assert len(at_once(frames)[0].tracks) == 0
    results, _, recording = recorded(frames)
    assert all(result.tracks.id.tolist() == [1] for result in results)
    assert recording.people_seen == 1


@pytest.mark.parametrize(("missed", "filled"), [((20, 21, 22), (20, 21, 22)), (range(20, 28), (20, 21, 26, 27))])
def test_a_gap_is_filled_near_its_ends_with_the_person_where_they_were(missed, filled):
    frames = walker(8, without=set(missed))
    results, _, _ = recorded(frames)
    whole = walker(8)
    for index in missed:
        tracks = results[index].tracks
        assert len(tracks) == (1 if index in filled else 0)
        if len(tracks):
            assert tracks.observed.all()
            assert tracks.bbox[0] == pytest.approx(whole[index].bbox[0], abs=6.0)


def test_nobody_is_reported_after_the_last_detection():
    frames = walker(4) + [Detections.empty()] * 20
    results, _, _ = recorded(frames)
    assert [len(result.tracks) for result in results] == [1] * 28 + [0] * 20


def test_whoever_is_hidden_at_once_while_lost_is_hidden_in_hindsight_too():
    frames = walker(8, without=set(range(20, 32))) + [Detections.empty()] * 20
    results, _, _ = recorded(frames)
    told_and_lost = 0
    for live, judged in zip(at_once(frames), results):
        hidden = people_boxes(judged).tolist()
        lost = live.tracks.bbox[~np.isin(live.tracks.id, judged.tracks.id)].tolist()
        assert all(box in hidden for box in lost)
        assert len(hidden) >= len(live.last_seen) + len(live.detections)
        told_and_lost += len(lost)
    assert told_and_lost > 10


def test_places_are_nearer_to_the_truth_than_at_once_and_as_near_as_is_said():
    now, later, stated = [], [], []
    true = np.array([(each.bbox[0, 0] + each.bbox[0, 2]) / 2 for each in walker(10)])
    inner = slice(10, -10)
    for seed in range(20):
        frames = walker(10, noise_px=8.7, seed=seed)
        live, judged = at_once(frames), recorded(frames)[0]
        now.append(np.array([result.tracks.foot[0, 0] for result in live[3:]])[inner] - true[3:][inner])
        later.append(np.array([result.tracks.foot[0, 0] for result in judged])[inner] - true[inner])
        stated.append([result.tracks.foot_cov[0, 0, 0] for result in judged[inner]])
    error, error_at_once = np.sqrt(np.mean(np.square(later))), np.sqrt(np.mean(np.square(now)))
    assert error < 0.75 * error_at_once
    # The middle of two sides is off by 6 px: what the tracker takes for a person who is that near.
    assert error == pytest.approx(np.sqrt(np.mean(stated)), rel=0.25)


def test_a_track_that_was_sure_for_a_moment_only_is_nobody():
    frames = walker(10, score=0.36)
    for index in range(20, 23):
        frames[index] = Detections(frames[index].bbox, np.full(1, 0.6, np.float32))
    assert any(len(result.tracks) for result in at_once(frames))
    results, _, recording = recorded(frames)
    assert not any(len(result.tracks) for result in results)
    assert recording.people_seen == 0


def test_without_hindsight_a_recording_is_what_a_camera_sees():
    frames = walker(6, score=0.5, without={15, 16})
    config = Config(tracker=TrackerConfig(hindsight_s=0))
    recording = Recording(Pipeline(config, NoModel(), CAMERA), config)
    for index, (detections, expected) in enumerate(zip(frames, at_once(frames))):
        (result,) = recording.add(index, index / FPS, detections)
        assert result.tracks.id.tolist() == expected.tracks.id.tolist()
        assert result.tracks.bbox.tolist() == expected.tracks.bbox.tolist()
        assert recording.next_frame == index + 1


def two_people(index):
    distance = np.interp(index / FPS, [0, 6, 14, 20], [6.0, 1.0, 1.0, 6.0])
    return boxes_of_people(CAMERA, np.array([[0.0, 7.0], [distance, 7.0]]))


def test_two_people_who_meet_are_one_event_as_they_are_at_once():
    frames = [two_people(index) for index in range(20 * FPS)]
    results, events, _ = recorded(frames)
    closed = [event for result in results for event in result.closed_events] + list(events)
    assert len(closed) == 1
    # under 2 m from 4.8 s; over 2.2 m from 15.44 s
    assert closed[0].start_s == pytest.approx(4.8, abs=0.35)
    assert closed[0].end_s == pytest.approx(15.44, abs=0.35)


def test_what_waits_is_bounded_and_another_recording_goes_on_from_where_results_are_out():
    frames = [two_people(index) for index in range(30 * FPS)]
    whole, events, _ = recorded(frames)
    first = Recording(Pipeline(Config(), NoModel(), CAMERA), Config())
    assert first.state() is None
    got = []
    for index in range(100):
        got += first.add(index, index / FPS, frames[index])
        assert index + 1 - len(got) <= 2 * 4 * FPS + 2
        assert len(got) == first.next_frame
    state = first.state()
    second = Recording(Pipeline(Config(), NoModel(), CAMERA), Config())
    second.restore(state, first.next_frame)
    for index in range(first.next_frame, len(frames)):
        got += second.add(index, index / FPS, frames[index])
    last, last_events = second.finish()
    got += last
    assert last_events == events
    assert [result.index for result in got] == [result.index for result in whole]
    for one, other in zip(got, whole):
        assert one.tracks.id.tolist() == other.tracks.id.tolist()
        assert one.tracks.bbox.tobytes() == other.tracks.bbox.tobytes()
        assert one.pairs.distance_m.tobytes() == other.pairs.distance_m.tobytes()
        assert one.closed_events == other.closed_events
    assert second.people_seen == 2


def test_the_smoother_gives_the_answer_of_least_squares():
    """A filter and its smoother are a way to solve one system of linear equations; here the system itself is solved."""
    step_s, count = 0.2, 12
    generator = np.random.default_rng(3)
    middle = 300 + 40 * step_s * np.arange(count) + generator.normal(0, 3, count)
    missing = {4, 5, 9}
    states = []
    for index in range(count):
        box = [[middle[index] - 20, 100.0, middle[index] + 20, 100.0 + HEIGHT_PX]]
        measured = Measurements.from_boxes(np.array(box, np.float32))
        if index == 0:
            state = MotionState.start(measured)
        else:
            state = state.select(np.arange(1))
            state.predict(step_s)
            if index not in missing:
                state.update(np.arange(1), measured, 0.0, doubts=False)
        states.append(state)
    smoothed = [states[-1]]
    for state in reversed(states[:-1]):
        smoothed.append(state.corrected_by(smoothed[-1], step_s))
    smoothed.reverse()

    metre_px = HEIGHT_PX / 1.7
    density = 0.5 * metre_px**2
    noise = np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]]) * density
    precision = np.zeros((2 * count, 2 * count))
    weighted = np.zeros(2 * count)
    precision[1, 1] += 1 / (1.5 * metre_px) ** 2
    variance = Measurements.box_variance(np.array([HEIGHT_PX]))[0, 0]
    for index in range(count):
        if index not in missing:
            precision[2 * index, 2 * index] += 1 / variance
            weighted[2 * index] += np.float32(middle[index]) / variance
        if index:
            step = np.array([[-1.0, -step_s, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]])
            here = slice(2 * index - 2, 2 * index + 2)
            precision[here, here] += step.T @ np.linalg.inv(noise) @ step
    answer = np.linalg.solve(precision, weighted)
    covariance = np.linalg.inv(precision)
    for index, state in enumerate(smoothed):
        assert state.position[0, 0] == pytest.approx(answer[2 * index], abs=1e-3)
        assert state.velocity[0, 0] == pytest.approx(answer[2 * index + 1], abs=1e-2)
        assert state.var_pp[0, 0] == pytest.approx(covariance[2 * index, 2 * index], rel=1e-3)
        assert state.var_pv[0, 0] == pytest.approx(covariance[2 * index, 2 * index + 1], rel=1e-2, abs=1e-2)
        assert state.var_vv[0, 0] == pytest.approx(covariance[2 * index + 1, 2 * index + 1], rel=1e-3)


def test_a_moved_camera_claims_no_metres_in_the_frames_in_which_it_was_moved(tmp_path):
    save_camera(CAMERA, tmp_path / "camera.yaml")
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    recording = Recording(pipeline, Config())
    results = []
    moved = range(30, 50)
    with pytest.MonkeyPatch.context() as patch:
        for index, detections in enumerate(walker(10)):
            patch.setattr(Pipeline, "camera_moved", property(lambda self, now=index: now in moved))
            results += recording.add(index, index / FPS, detections)
        results += recording.finish()[0]
    assert [bool(result.ground.valid.all()) for result in results] == [index not in moved for index in range(70)]


def test_people_are_found_where_the_score_that_is_asked_for_is_high():
    config = Config(model=ModelConfig(score_threshold=0.9))
    results, _, _ = recorded(walker(8, score=0.97), config)
    assert all(len(result.tracks) == 1 for result in results)

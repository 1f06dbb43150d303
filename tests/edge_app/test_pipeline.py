from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_app.calibration import save_camera
from edge_app.config import Config
from edge_app.errors import UserError
from edge_app.pipeline import Pipeline, camera_for
from edge_app.records import Detections
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(height_m=3.0, tilt_deg=20.0)


class NoModel:
    """The stages after the detector are given their detections here."""

    name = "none"


def run(people_at, fps, seconds, camera=CAMERA):
    """Send exact boxes of people (function of time → (N, 2) metres) through the pipeline."""
    pipeline = Pipeline(Config(), NoModel(), camera)
    results, events = [], []
    for index in range(int(seconds * fps) + 1):
        result = pipeline.interpret(index, index / fps, boxes_of_people(CAMERA, people_at(index / fps)))
        results.append(result)
        events += result.closed_events
    return results, [*events, *pipeline.finish()]


def test_two_people_two_metres_apart_in_depth_read_two_metres():
    results, _ = run(lambda t: np.array([[0.0, 5.0], [0.0, 7.0]]), fps=10, seconds=2)
    assert results[-1].pairs.distance_m == pytest.approx([2.0], abs=0.1)


def test_five_people_are_five_people_and_ten_pairs():
    crowd = np.array([[0.0, 6.0], [0.7, 6.0], [-0.7, 6.0], [0.35, 6.6], [-0.35, 6.6]])
    results, events = run(lambda t: crowd, fps=10, seconds=3)
    assert len(results[-1].violating_people) == 5
    assert len(results[-1].violating_pairs) == 10
    assert len(events) == 10
    assert len({person for event in events for person in (event.id_a, event.id_b)}) == 5


def approach(time_s):
    """One stands, one comes, stays at 1 m for 8 s and goes."""
    distance = np.interp(time_s, [0, 6, 14, 20], [6.0, 1.0, 1.0, 6.0])
    return np.array([[0.0, 7.0], [distance, 7.0]])


@pytest.mark.parametrize("fps", [5, 30])
def test_the_same_scene_gives_the_same_events_at_30_and_at_5_fps(fps):
    _, events = run(approach, fps, 20)
    # under 2 m from 4.8 s; over 2.2 m from 15.44 s
    assert len(events) == 1
    assert events[0].start_s == pytest.approx(4.8, abs=0.35)
    assert events[0].end_s == pytest.approx(15.44, abs=0.35)
    assert events[0].min_distance_m == pytest.approx(1.0, abs=0.1)


def test_close_for_120_s_is_one_event_of_120_s():
    def people(time_s):
        apart = 1.0 if time_s <= 120 else min(5.0, 1.0 + 2.0 * (time_s - 120))
        return np.array([[0.0, 7.0], [apart, 7.0]])

    _, events = run(people, fps=5, seconds=130)
    assert len(events) == 1
    assert events[0].duration_s == pytest.approx(120.0, abs=1.5)


def test_an_empty_stretch_ages_people_out_and_ends_their_event():
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    people = boxes_of_people(CAMERA, np.array([[0.0, 6.0], [1.0, 6.0]]))
    for index in range(30):
        pipeline.interpret(index, index / 10, people)
    late = [pipeline.interpret(index, index / 10, Detections.empty()) for index in range(30, 80)]
    assert len(late[0].tracks) == 2
    assert not late[0].tracks.observed.any()
    assert len(late[-1].tracks) == 0
    assert [event.end_s for result in late for event in result.closed_events] == [2.9]
    assert pipeline.finish() == ()


def test_without_a_calibration_no_distance_is_claimed():
    results, events = run(lambda t: np.array([[0.0, 6.0], [0.5, 6.0]]), fps=10, seconds=3, camera=None)
    assert len(results[-1].tracks) == 2
    assert not results[-1].ground.valid.any()
    assert len(results[-1].pairs) == 0
    assert events == []


def test_a_calibration_fits_other_resolutions_of_the_same_picture_only(tmp_path):
    save_camera(CAMERA, tmp_path / "camera.yaml")
    config = Config(calibration=tmp_path / "camera.yaml")
    half = camera_for(config, (480, 360))
    foot = CAMERA.ground_to_image(np.array([[1.0, 6.0]]))
    np.testing.assert_allclose(half.image_to_ground(foot / 2), [[1.0, 6.0]], atol=1e-6)
    with pytest.raises(UserError, match="is for a 960x720 picture, but the source gives 1920x1080"):
        camera_for(config, (1920, 1080))


def test_a_calibration_that_is_missing_is_an_error_and_not_silence():
    with pytest.raises(UserError, match="does not exist"):
        camera_for(Config(calibration=Path("nowhere.yaml")), (960, 720))

from __future__ import annotations

import numpy as np
import pytest

from edge_app.config import TrackerConfig
from edge_app.records import Detections
from edge_app.tracking import Tracker
from edge_app.tracking.association import assign
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(height_m=4.0, tilt_deg=25.0)


def jitter(detections: Detections, rng, part=0.03) -> Detections:
    """Move every box edge by a part of the box's height, as a detector does."""
    height = (detections.bbox[:, 3:] - detections.bbox[:, 1:2]).astype(np.float64)
    noise = rng.normal(0, part, detections.bbox.shape) * height
    return Detections((detections.bbox + noise).astype(np.float32), detections.score)


def follow(paths, fps, seconds, miss=0.0, seed=0, config=None):
    """Track people along ``paths`` (functions of time to metres); return per frame the id nearest to each person."""
    rng = np.random.default_rng(seed)
    tracker = Tracker(config or TrackerConfig(), score_threshold=0.35)
    seen = []
    for index in range(int(seconds * fps)):
        time_s = index / fps
        people = np.array([path(time_s) for path in paths])
        exact = boxes_of_people(CAMERA, people)
        shown = rng.random(len(paths)) >= miss
        tracks = tracker.update(time_s, jitter(exact[shown], rng))
        feet = CAMERA.ground_to_image(people)
        ids = []
        for foot in feet:
            gap = np.linalg.norm(tracks.foot - foot, axis=1)
            ids.append(int(tracks.id[gap.argmin()]) if len(gap) and gap.min() < 30 else 0)
        seen.append(ids)
    return np.array(seen), tracker


def walker(start, velocity):
    return lambda time_s: np.asarray(start) + time_s * np.asarray(velocity)


@pytest.mark.parametrize("fps", [2, 5, 8, 15, 30])
@pytest.mark.parametrize("seed", range(3))
def test_a_walker_keeps_one_id_at_every_frame_rate(fps, seed):
    seen, tracker = follow([walker((-5.0, 9.0), (1.4, 0.2))], fps, 7, miss=0.1, seed=seed)
    assert set(seen[:, 0]) - {0} == {1}
    assert tracker.tracks_confirmed == 1


@pytest.mark.parametrize("fps", [2, 5, 8, 15])
@pytest.mark.parametrize("seed", range(3))
def test_crossing_walkers_do_not_swap(fps, seed):
    paths = [walker((-4.0, 9.0), (1.3, 0.0)), walker((4.0, 10.0), (-1.3, 0.0))]
    seen, tracker = follow(paths, fps, 6, seed=seed)
    start, end = seen[fps], seen[-1]
    assert start.tolist() == end.tolist()
    assert len(set(end)) == 2
    assert tracker.tracks_confirmed == 2


def test_two_touching_people_far_away_stay_two():
    box = np.array([[100.0, 50.0, 112.0, 80.0], [112.0, 50.0, 124.0, 80.0]], np.float32)
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(10):
        tracks = tracker.update(index / 5, Detections(box, np.array([0.9, 0.8], np.float32)))
    assert tracks.id.tolist() == [1, 2]
    np.testing.assert_allclose(tracks.foot, [[106.0, 80.0], [118.0, 80.0]], atol=1e-6)


def test_an_empty_stretch_ages_tracks_out():
    person = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    tracker = Tracker(TrackerConfig(max_lost_s=1.5), 0.35)
    for index in range(10):
        tracker.update(index / 5, person)
    alive = [len(tracker.update(2.0 + index / 5, Detections.empty())) for index in range(10)]
    assert alive[0] == 1
    assert alive[-1] == 0
    later = [tracker.update(10.0 + index / 5, person) for index in range(3)]
    assert later[-1].id.tolist() == [2]


def test_a_missed_person_is_present_for_a_moment_but_not_called_observed():
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(20):
        tracker.update(index / 5, boxes_of_people(CAMERA, np.array([[-4 + 1.4 * index / 5, 8.0]])))
    missed = tracker.update(20 / 5, Detections.empty())
    lost = tracker.update(21 / 5, Detections.empty())
    assert (missed.observed.tolist(), missed.present.tolist()) == ([False], [True])
    assert (lost.observed.tolist(), lost.present.tolist()) == ([False], [False])
    assert np.linalg.norm(CAMERA.image_to_ground(lost.foot) - [[-4 + 1.4 * 4.2, 8.0]]) < 0.3
    assert (lost.foot_cov[0].diagonal() > missed.foot_cov[0].diagonal()).all()


def test_a_low_score_continues_a_track_and_never_starts_one():
    person = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    weak = Detections(person.bbox, np.array([0.2], np.float32))
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(5):
        assert len(tracker.update(index / 5, weak)) == 0
    for index in range(5, 8):
        tracker.update(index / 5, person)
    tracks = tracker.update(8 / 5, weak)
    assert tracks.observed.tolist() == [True]
    assert tracker.tracks_confirmed == 1


def test_a_single_false_detection_never_becomes_a_person():
    tracker = Tracker(TrackerConfig(confirm_hits=3), 0.35)
    tracker.update(0.0, boxes_of_people(CAMERA, np.array([[0.0, 8.0]])))
    for index in range(1, 10):
        assert len(tracker.update(index / 5, Detections.empty())) == 0
    assert tracker.tracks_confirmed == 0


def test_boxes_without_area_or_with_nan_are_passed_over():
    boxes = np.array([[10, 10, 10, 40], [0, 0, np.nan, 5], [50, 50, 40, 90]], np.float32)
    tracker = Tracker(TrackerConfig(confirm_hits=1), 0.35)
    assert len(tracker.update(0.0, Detections(boxes, np.full(3, 0.9, np.float32)))) == 0


def test_smoothing_brings_the_foot_nearer_to_the_truth_than_raw_boxes():
    rng = np.random.default_rng(1)
    tracker = Tracker(TrackerConfig(), 0.35)
    raw, smooth = [], []
    for index in range(200):
        exact = boxes_of_people(CAMERA, np.array([[-4 + 0.5 * index / 15, 9.0]]))
        noisy = jitter(exact, rng, part=0.05)
        tracks = tracker.update(index / 15, noisy)
        if index > 20:
            truth = exact.bbox[0, 3]
            raw.append(noisy.bbox[0, 3] - truth)
            smooth.append(tracks.foot[0, 1] - truth)
    assert np.std(smooth) < 0.7 * np.std(raw)


def test_the_same_detections_give_the_same_tracks_after_a_restart():
    rng = np.random.default_rng(2)
    frames = [
        jitter(boxes_of_people(CAMERA, np.array([[-3 + 0.2 * i, 8.0], [3 - 0.2 * i, 10.0]])), rng) for i in range(30)
    ]
    whole, first, second = (Tracker(TrackerConfig(), 0.35) for _ in range(3))
    expected = [whole.update(index / 7, frame) for index, frame in enumerate(frames)]
    for index in range(15):
        first.update(index / 7, frames[index])
    second.restore(first.state())
    for index in range(15, 30):
        tracks = second.update(index / 7, frames[index])
        np.testing.assert_array_equal(tracks.id, expected[index].id)
        np.testing.assert_array_equal(tracks.foot, expected[index].foot)


def frames_until_counted(score, fps=5.0):
    person = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(100):
        if len(tracker.update(index / fps, Detections(person.bbox, np.array([score], np.float32)))):
            return index + 1
    return None


def test_sure_detections_make_a_person_sooner_than_weak_ones():
    assert frames_until_counted(0.95) == 2
    assert frames_until_counted(0.6) == 3
    assert frames_until_counted(0.4) > 4
    # Frames that follow fast show the same mistakes: it is time that counts then.
    assert frames_until_counted(0.6, fps=30) > frames_until_counted(0.6)


def test_a_weak_flicker_never_becomes_a_person():
    person = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    tracker = Tracker(TrackerConfig(), 0.35)
    weak = Detections(person.bbox, np.array([0.37], np.float32))
    seen = [len(tracker.update(index / 5, weak if index % 6 < 2 else Detections.empty())) for index in range(60)]
    assert not any(seen)


def test_who_is_seen_only_weakly_for_long_does_not_count_until_seen_well_again():
    person = boxes_of_people(CAMERA, np.array([[0.0, 8.0]]))
    sure, weak = (Detections(person.bbox, np.array([score], np.float32)) for score in (0.9, 0.2))
    tracker = Tracker(TrackerConfig(), 0.35)
    scores = [sure] * 10 + [weak] * 40 + [sure] * 10
    seen = [len(tracker.update(index / 5, detections)) for index, detections in enumerate(scores)]
    assert all(seen[2:18])
    assert not any(seen[40:50])
    assert seen[-1] == 1 and tracker.tracks_confirmed == 1


@pytest.mark.parametrize("second", [(0.1, 0.05, 0.9, 0.55), (-0.2, -0.2, 1.2, 1.1)])
def test_a_second_box_on_one_person_is_nobody(second):
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(30):
        person = boxes_of_people(CAMERA, np.array([[-3 + 1.2 * index / 5, 8.0]])).bbox
        size = np.tile(person[0, 2:] - person[0, :2], 2)
        twice = np.concatenate([person, person[:, [0, 1, 0, 1]] + size * np.array([second], np.float32)])
        tracks = tracker.update(index / 5, Detections(twice, np.array([0.9, 0.8], np.float32)))
    assert len(tracks) == 1 and tracker.tracks_confirmed == 1


def test_who_steps_out_from_behind_somebody_is_a_person():
    tracker = Tracker(TrackerConfig(), 0.35)
    for index in range(15):
        feet = np.array([[0.0, 8.0], [0.1 + 0.8 * index / 5, 8.4]])
        tracks = tracker.update(index / 5, boxes_of_people(CAMERA, feet))
    assert len(tracks) == 2


def farthest_off_with_loose_boxes():
    rng = np.random.default_rng(3)
    tracker = Tracker(TrackerConfig(), 0.35)
    off = []
    for index in range(40):
        exact = boxes_of_people(CAMERA, np.array([[-3 + 0.5 * index / 5, 8.0]]))
        seen = jitter(exact, rng, part=0.02)
        height = exact.bbox[0, 3] - exact.bbox[0, 1]
        if index % 10 == 9:
            seen.bbox[0, 3] += 0.6 * height
        tracks = tracker.update(index / 5, seen)
        if index % 10 == 9:
            off.append((tracks.foot[0, 1] - exact.bbox[0, 3]) / height)
    assert tracker.tracks_confirmed == 1
    return np.abs(off).max()


def test_a_loose_box_moves_the_foot_little_and_starts_nobody(monkeypatch):
    limited = farthest_off_with_loose_boxes()
    monkeypatch.setattr("edge_app.tracking.motion._BELIEVED_SD", 1e6)
    assert limited < 0.8 * farthest_off_with_loose_boxes()


def test_assignment_takes_the_best_whole_and_never_a_forbidden_pair():
    cost = np.array([[1.0, 2.0], [1.5, np.inf], [np.inf, np.inf]])
    rows, columns = assign(cost)
    assert sorted(zip(rows.tolist(), columns.tolist())) == [(0, 1), (1, 0)]
    assert assign(np.full((2, 2), np.inf))[0].size == 0


def side_by_side(middle_score, seconds=6.0, fps=7.0):
    """Two walk side by side, a third box over both. Returns how many ids were given and how often three counted."""
    tracker, three = Tracker(TrackerConfig(), 0.35), 0
    for index in range(int(seconds * fps)):
        left = 50.0 + 4 * index
        boxes = np.array([[left, 50, left + 30, 130], [left + 34, 50, left + 64, 130], [left + 17, 50, left + 47, 130]])
        scores = np.array([0.9, 0.9, middle_score])
        # The two are seen alone at first.
        shown = 2 if index < 4 else 3
        found = Detections(boxes[:shown].astype(np.float32), scores[:shown].astype(np.float32))
        three += len(tracker.update(index / fps, found)) == 3
    return tracker.tracks_confirmed, three


def test_a_third_box_over_two_people_is_nobody_unless_the_detector_is_sure():
    assert side_by_side(0.5) == (2, 0)
    people, three = side_by_side(0.95)
    assert people == 3 and three > 30

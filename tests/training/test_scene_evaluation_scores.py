"""The figures of the evaluation on scenes whose figures are worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
import pytest

from edge_app.box_overlap import iou_matrix
from edge_app.calibration import HomographyCamera, PinholeCamera
from edge_app.config import EventConfig
from training.evaluation.ignore_regions import IgnoreRegions
from training.scene_evaluation.alignment import AlignedFrame, Alignment, align
from training.scene_evaluation.camera_accuracy import measure_camera
from training.scene_evaluation.close_pairs import (
    PairScores,
    bootstrap_intervals,
    count_detection_errors,
    count_track_pairs,
    pair_scores,
)
from training.scene_evaluation.event_scores import Event, score_events, true_events
from training.scene_evaluation.older_formulas import center_points_distance, four_corner_points_distance
from training.scene_evaluation.scene_files import SceneRows
from training.scene_evaluation.track_pairs import measure_track_pairs
from training.scene_evaluation.tracking_scores import score_tracks

NOWHERE = (float("nan"), float("nan"))


def rows(*people: tuple[int, int, list[float], int, tuple[float, float]]) -> SceneRows:
    """Make rows of (frame, id, box xyxy, flag, position)."""
    frame, identity, bbox, score, xy = zip(*people) if people else ((), (), (), (), ())
    return SceneRows(
        np.array(frame, np.int64),
        np.array(identity, np.int64),
        np.array(bbox, np.float64).reshape(-1, 4),
        np.array(score, np.float64),
        np.array(xy, np.float64).reshape(-1, 2),
    )


def aligned(
    people: list[tuple[float, float]], tracks: list[tuple[float, float]], shows: list[int], frame: int = 1
) -> AlignedFrame:
    """Make a frame: people have identities from 101, tracks from 1; ``shows`` is the person's index of each track."""
    return AlignedFrame(
        frame,
        101 + np.arange(len(people)),
        np.array(people, np.float64).reshape(-1, 2),
        1 + np.arange(len(tracks)),
        np.array(tracks, np.float64).reshape(-1, 2),
        np.array(shows, np.int64),
    )


def test_iou_of_boxes_that_share_half_their_width_is_a_third() -> None:
    a = np.array([[0.0, 0, 10, 10]])
    b = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [20, 0, 30, 10]])
    assert iou_matrix(a, b)[0] == pytest.approx([1 / 3, 1, 0])


def test_tracks_are_matched_to_as_many_people_as_possible() -> None:
    people = rows((1, 101, [0, 0, 10, 10], 1, (0, 0)), (1, 102, [3, 0, 13, 10], 1, (1, 0)))
    # Track 1 fits both people (IoU 9/11 and 8/12), track 2 only the first (8/12; 5/15 with the second).
    tracks = rows((1, 1, [1, 0, 11, 10], 1, (0, 0)), (1, 2, [-2, 0, 8, 10], 1, (0, 0)))
    assert align(people, tracks, 1).frames[0].person_of_track.tolist() == [1, 0]


def test_on_the_ground_the_place_counts_and_not_the_box() -> None:
    far = [100.0, 0, 110, 30]
    people = rows((1, 101, [0, 0, 10, 30], 1, (0.0, 5.0)), (1, 102, [50, 0, 60, 30], 1, (3.0, 5.0)))
    tracks = rows(
        (1, 1, [50, 0, 60, 30], 1, (0.2, 5.0)),
        (1, 2, far, 1, (3.9, 5.0)),
        (1, 3, far, 1, (4.1, 5.0)),
        (1, 4, far, 1, NOWHERE),
    )
    assert align(people, tracks, 1).frames[0].person_of_track.tolist() == [1, -1, -1, -1]
    assert align(people, tracks, 1, on_ground=True).frames[0].person_of_track.tolist() == [0, 1, -1, -1]


def test_a_track_on_a_person_who_does_not_count_is_neither_right_nor_wrong() -> None:
    people = rows((1, 100, [0, 0, 10, 20], 0, (0, 0)), (1, 101, [50, 0, 60, 20], 1, (5, 0)))
    tracks = rows((1, 1, [0, 0, 10, 20], 1, (0, 0)), (1, 2, [50, 0, 60, 20], 1, (5, 0)))
    alignment = align(people, tracks, 1)
    assert alignment.ignored == {(1, 1)}
    assert alignment.frames[0].track_id.tolist() == [2]
    assert alignment.frames[0].person_id.tolist() == [101]
    assert alignment.frames[0].person_of_track.tolist() == [0]


def test_regions_take_out_tracks_that_show_nobody_there_and_no_others() -> None:
    regions = IgnoreRegions(np.array([[0.0, 0, 100, 100]]), 768, 576)
    people = rows((1, 101, [10, 30, 20, 60], 1, (0, 0)))
    shows_person, shows_nobody, elsewhere = [10.0, 30, 20, 60], [50.0, 30, 60, 60], [200.0, 200, 220, 260]
    tracks = rows(*((1, i, box, 1, NOWHERE) for i, box in enumerate((shows_person, shows_nobody, elsewhere), start=1)))
    assert align(people, tracks, 1).ignored == frozenset()
    assert align(people, tracks, 1, regions).ignored == {(1, 2)}


def test_a_close_pair_is_right_only_if_both_tracks_show_people_who_are_close() -> None:
    people = [(0.0, 0.0), (1.0, 0.0), (5.0, 0.0)]
    # Reported: 1-2 (1.5 m, truly 1 m), 1-3 and 2-3 with a track that shows nobody.
    assert count_track_pairs(aligned(people, [(0, 0), (1.5, 0), (0.5, 0.5)], [0, 1, -1]), 2.0).tolist() == [1, 2, 0]
    # Reported as 3 m apart: missed.
    assert count_track_pairs(aligned(people, [(0, 0), (3, 0)], [0, 1]), 2.0).tolist() == [0, 0, 1]
    # Reported as 1 m apart, truly 4 m: wrong, and the close pair is missed.
    assert count_track_pairs(aligned(people, [(1, 0), (2, 0)], [1, 2]), 2.0).tolist() == [0, 1, 1]
    # Without a position nothing is reported.
    assert count_track_pairs(aligned(people, [NOWHERE, NOWHERE], [0, 1]), 2.0).tolist() == [0, 0, 1]


def test_errors_of_detection_are_told_from_errors_of_distance() -> None:
    people = [(0.0, 0.0), (1.0, 0.0), (5.0, 0.0)]
    # Two wrong pairs with a track that shows nobody; the close pair is right.
    assert count_detection_errors(aligned(people, [(0, 0), (1.5, 0), (0.5, 0.5)], [0, 1, -1]), 2.0).tolist() == [2, 0]
    # One wrong pair of people who are 4 m apart, and the close pair is missed for want of a track.
    assert count_detection_errors(aligned(people, [(1, 0), (2, 0)], [1, 2]), 2.0).tolist() == [0, 1]
    # Both are tracked, but told to be 3 m apart.
    assert count_detection_errors(aligned(people, [(0, 0), (3, 0)], [0, 1]), 2.0).tolist() == [0, 0]


def test_a_pair_exactly_at_the_threshold_is_not_close() -> None:
    people = [(0.0, 0.0), (2.0, 0.0)]
    assert count_track_pairs(aligned(people, people, [0, 1]), 2.0).tolist() == [0, 0, 0]


def test_rates_follow_from_summed_counts_and_are_undefined_without_pairs() -> None:
    scores = pair_scores(np.array([[3, 1, 0], [0, 0, 2]]))
    assert (scores.precision, scores.recall) == (3 / 4, 3 / 5)
    assert scores.f1 == pytest.approx(6 / 9)
    assert np.isnan(pair_scores(np.zeros((2, 3), np.int64)).f1)


def test_the_interval_is_a_point_where_all_blocks_agree_and_wide_where_they_do_not() -> None:
    # Ten frames a second: blocks of 100 frames. In each: 80 right, 20 missed.
    same = np.tile(np.array([[1, 0, 0]] * 80 + [[0, 0, 1]] * 20), (5, 1))
    assert bootstrap_intervals(same, 10.0).recall == (0.8, 0.8)
    assert bootstrap_intervals(same, 10.0).blocks == 5
    # One block all right, one all missed: a quarter of the draws has recall 0, a quarter 1.
    apart = np.array([[1, 0, 0]] * 100 + [[0, 0, 1]] * 100)
    assert bootstrap_intervals(apart, 10.0).recall == (0.0, 1.0)
    assert bootstrap_intervals(apart, 10.0).precision == (1.0, 1.0)


def test_distance_errors_are_of_tracked_pairs_that_are_truly_near() -> None:
    people = [(0.0, 0.0), (3.0, 0.0), (9.0, 0.0)]
    frame = aligned(people, [(0, 0), (3.5, 0), (9, 0)], [0, 1, 2])
    pairs = measure_track_pairs(Alignment((frame,), frozenset()), 2.0, 10.0)
    assert pairs is not None
    assert (pairs.near_pair_distance.count, pairs.near_pair_distance.median_m) == (1, 0.5)


def test_tracks_without_positions_have_no_distances() -> None:
    frame = aligned([(0, 0), (1, 0)], [NOWHERE, NOWHERE], [0, 1])
    assert measure_track_pairs(Alignment((frame,), frozenset()), 2.0, 10.0) is None


def test_motmetrics_scores_a_switch_a_miss_and_a_false_box(tmp_path: Path) -> None:
    ground_truth, tracks = tmp_path / "gt.txt", tmp_path / "tracks.txt"
    ground_truth.write_text(
        "".join(f"{f},1,11,11,20,40,1,0,0,0\n{f},2,101,11,20,40,1,3,0,0\n" for f in range(1, 5)), encoding="utf-8"
    )
    found = [f"{f},{7 if f < 3 else 8},11,11,20,40,0.9,0,0,0" for f in range(1, 5)]
    found += [f"{f},9,101,11,20,40,0.9,3,0,0" for f in range(1, 4)] + ["4,9,301,11,20,40,0.9,9,0,0"]
    tracks.write_text("\n".join(found) + "\n", encoding="utf-8")
    scores = score_tracks(ground_truth, tracks, frozenset())
    # 8 boxes, 1 switch, 1 miss, 1 false: 1 - 3/8. Identities keep 2 of 4 and 3 of 4 boxes: 2 * 5 / (8 + 8).
    assert (scores.mota, scores.idf1) == (0.625, 0.625)
    assert (scores.switches, scores.misses, scores.false_positives) == (1, 1, 1)
    assert (scores.precision, scores.recall) == (7 / 8, 7 / 8)
    assert score_tracks(ground_truth, tracks, frozenset({(4, 9)})).false_positives == 0
    # Frames 3 and 4 alone: the switch is gone, and the boxes of frames 3 and 4 come as 1 and 2.
    shifted = tmp_path / "shifted.txt"
    shifted.write_text("1,8,11,11,20,40,0.9,0,0,0\n2,8,11,11,20,40,0.9,0,0,0\n", encoding="utf-8")
    assert score_tracks(ground_truth, shifted, frozenset(), (3, 4)).mota == 0.5


def test_no_tracks_at_all_are_all_misses(tmp_path: Path) -> None:
    ground_truth, tracks = tmp_path / "gt.txt", tmp_path / "tracks.txt"
    ground_truth.write_text("1,1,11,11,20,40,1,0,0,0\n2,1,11,11,20,40,1,0,0,0\n", encoding="utf-8")
    tracks.write_text("", encoding="utf-8")
    scores = score_tracks(ground_truth, tracks, frozenset())
    assert (scores.mota, scores.recall, scores.misses) == (0.0, 0.0, 2)


def two_people_close_for(frames: int, shows: Optional[list[int]] = None) -> Alignment:
    """Two people (101, 102), 1 m apart for so many frames and 9 m in the 30 frames after; tracks 1 and 2 show them."""
    people = [[(0.0, 0.0), (1.0 if n < frames else 9.0, 0.0)] for n in range(frames + 30)]
    shown = [0, 1] if shows is None else shows
    return Alignment(tuple(aligned(xy, xy, shown, n + 1) for n, xy in enumerate(people)), frozenset())


def test_true_events_follow_the_rules_of_the_device() -> None:
    # 21 frames at 10 a second: from 0.0 s to 2.0 s.
    assert true_events(two_people_close_for(21), 10.0, 2.0, EventConfig()) == (Event(101, 102, 0.0, 2.0),)
    assert true_events(two_people_close_for(21), 10.0, 2.0, EventConfig(min_duration_s=2.5)) == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Event(1, 2, 0.0, 2.0), (1, 0, 0)),
        # 11 of 21 frames are enough, 10 of 21 are not.
        (Event(1, 2, 0.0, 1.0), (1, 0, 0)),
        (Event(1, 2, 0.0, 0.9), (0, 1, 1)),
        # A track that is not there shows nobody.
        (Event(1, 5, 0.0, 2.0), (0, 1, 1)),
    ],
)
def test_an_event_is_right_if_the_same_two_people_are_close_for_half_the_time(
    found: Event, expected: tuple[int, int, int]
) -> None:
    alignment = two_people_close_for(21)
    true = true_events(alignment, 10.0, 2.0, EventConfig())
    assert score_events((found,), true, alignment, 10.0) == PairScores(*expected)


@pytest.mark.parametrize("rounding_s", [-0.0005, 0.0, 0.0005])
def test_an_overlap_of_just_a_half_counts_however_times_are_rounded(rounding_s: float) -> None:
    # 10 of 20 frames at 7 a second.
    alignment = two_people_close_for(20)
    true = (Event(101, 102, 0.0, 19 / 7),)
    found = Event(1, 2, 0.0, 9 / 7 + rounding_s)
    assert score_events((found,), true, alignment, 7.0) == PairScores(1, 0, 0)


def test_each_true_event_is_found_once() -> None:
    alignment = two_people_close_for(21)
    true = true_events(alignment, 10.0, 2.0, EventConfig())
    twice = (Event(1, 2, 0.0, 2.0), Event(1, 2, 0.1, 2.0))
    assert score_events(twice, true, alignment, 10.0) == PairScores(1, 1, 0)


def test_an_event_of_a_person_who_does_not_count_is_left_out() -> None:
    frames = two_people_close_for(21).frames
    ignored = frozenset((frame.frame, 3) for frame in frames)
    assert score_events((Event(1, 3, 0.0, 2.0),), (), Alignment(frames, ignored), 10.0) == PairScores(0, 0, 0)


def test_older_formulas_take_every_person_for_170_cm() -> None:
    # Both boxes 170 px high: one centimetre a pixel. Centres 110 px apart, left edges 100 px, right edges 120 px.
    same = np.array([[0.0, 0, 40, 170], [100, 0, 160, 170]])
    assert center_points_distance(same)[0, 1] == pytest.approx(1.1)
    assert four_corner_points_distance(same)[0, 1] == pytest.approx(1.0)
    # Heights 170 and 85 px: one and two centimetres a pixel, on average 1.5; centres 100 px apart.
    mixed = np.array([[0.0, 0, 40, 170], [100, 42.5, 140, 127.5]])
    assert center_points_distance(mixed)[0, 1] == pytest.approx(1.5)


def forward_camera() -> PinholeCamera:
    """Stands 5 m above (0, -10), looks along y: (X, Y) is seen at u = 500 + 1000 X / (Y + 10), v = 5000 / (Y + 10)."""
    matrix = np.array([[1000.0, 0, 500], [0, 1000, 0], [0, 0, 1]])
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return PinholeCamera(1000, 600, matrix, np.zeros(5), rotation, np.array([0.0, 5.0, 10.0]))


def person(identity: int, foot: tuple[float, float], xy_m: tuple[float, float]) -> SceneRows:
    u, v = foot
    return rows((1, identity, [u - 20, v - 100, u + 20, v], 1, xy_m))


def scene(*people: SceneRows) -> SceneRows:
    return SceneRows(*(np.concatenate(column) for column in zip(*(vars(one).values() for one in people))))


def test_camera_errors_are_told_by_direction_and_range() -> None:
    # The second foot is one pixel too low: 5000 / (5000 / 12 + 1) = 11.97127 m before the camera instead of 12 m.
    people = scene(
        person(1, (500, 500), (0, 0)), person(2, (500, 5000 / 12 + 1), (0, 2)), person(3, (600, 500), (1, 0))
    )
    accuracy = measure_camera(people, forward_camera(), 2.0)
    depth, lateral = accuracy.near_by_direction["depth"], accuracy.near_by_direction["lateral"]
    assert depth.count == 2
    assert lateral == type(lateral)(1, pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    # Errors 0.02873 m (straight ahead) and 0.02566 m (across): their 90th percentile.
    assert depth.p90_m == pytest.approx(0.02842, abs=1e-5)
    assert set(accuracy.near_by_range) == {"10-15 m"}
    # Truly 0 - 1 is close (1 m), 0 - 2 is at 2.0 m and measured under it, the third pair is sqrt(5) m apart.
    assert accuracy.close_pairs == PairScores(1, 1, 0)


def test_feet_above_the_horizon_have_no_position_and_are_counted() -> None:
    people = scene(person(1, (500, 500), (0, 0)), person(2, (500, -10), (0, 900)))
    accuracy = measure_camera(people, forward_camera(), 2.0)
    assert accuracy.without_position == 1
    assert accuracy.position.count == 1
    assert accuracy.pair_distance.count == 0


def test_a_homography_has_no_range_and_no_direction() -> None:
    camera = HomographyCamera(1000, 600, np.diag([0.01, 0.01, 1.0]))
    people = scene(person(1, (100, 200), (1.0, 2.0)), person(2, (200, 200), (2.3, 2.0)))
    accuracy = measure_camera(people, camera, 2.0)
    assert accuracy.position.p90_m == pytest.approx(0.27)  # residuals 0 and 0.3 m
    assert accuracy.pair_distance.median_m == pytest.approx(0.3)
    assert accuracy.near_by_range == accuracy.near_by_direction == {}

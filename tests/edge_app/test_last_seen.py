from __future__ import annotations

import json

import numpy as np

from edge_app.last_seen import LastSeen
from edge_app.records import Detections

BOX, OTHER = [100.0, 50.0, 140.0, 150.0], [300.0, 50.0, 340.0, 150.0]


def found(*boxes, unchecked=None):
    bbox = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(bbox, np.full(len(bbox), 0.2, np.float32), unchecked=unchecked)


def held(memory, frames):
    """Show (second, detections) and return how many places are held at each of them."""
    return [len(memory.update(time_s, detections)) for time_s, detections in frames]


def test_whoever_is_found_again_is_held_nowhere_and_whoever_is_not_for_a_second():
    memory = LastSeen()
    moved = [104.0, 50.0, 144.0, 150.0]
    assert held(memory, [(0.0, found(BOX)), (0.1, found(moved))]) == [0, 0]
    assert held(memory, [(0.1 + k / 10, found()) for k in range(1, 30)]) == [1] * 10 + [0] * 19


def test_who_was_found_where_it_is_not_the_frame_s_turn_is_held_as_long_as_that_is_said():
    memory = LastSeen()
    unchecked = np.array([OTHER], np.float32)
    for k in range(50):
        np.testing.assert_array_equal(memory.update(k / 10, found(unchecked=unchecked)), unchecked)
    # Frames that are passed over find nobody's turn.
    for k in range(50, 60):
        np.testing.assert_array_equal(memory.update(k / 10, Detections.empty(passed_over=True)), unchecked)
    # Their turn has come: held as if found just before, however that came about.
    assert held(memory, [(6 + k / 10, found()) for k in range(15)]) == [1] * 10 + [0] * 5


def test_a_frame_that_comes_late_hides_who_was_found_in_the_one_before():
    memory = LastSeen()
    assert held(memory, [(0.0, found(BOX)), (30.0, found()), (30.1, found())]) == [0, 1, 0]


def test_a_picture_of_another_size_moves_the_places():
    memory = LastSeen()
    memory.update(0.0, found(BOX, unchecked=np.array([OTHER], np.float32)))
    memory.scale(0.5, 0.25)
    np.testing.assert_allclose(
        memory.update(0.0, Detections.empty(passed_over=True)), [[50, 12.5, 70, 37.5], [150, 12.5, 170, 37.5]]
    )


def test_what_is_remembered_has_a_limit():
    memory = LastSeen()
    for k in range(20):
        boxes = [[40.0 * x, 100.0 * k, 40.0 * x + 30, 100.0 * k + 90] for x in range(100)]
        assert len(memory.update(k / 100, found(*boxes))) <= 200


def test_frames_that_were_passed_over_change_nothing():
    memory = LastSeen()
    memory.update(0.0, found(BOX))
    for k in range(1, 1000):
        np.testing.assert_array_equal(memory.update(float(k), Detections.empty(passed_over=True)), [BOX])


def test_the_longer_nobody_is_found_the_wider_the_place_for_they_may_walk():
    memory = LastSeen()
    memory.update(0.0, found(BOX))
    (early,), (late,) = memory.update(0.25, found()), memory.update(0.9, found())
    # 0.8 heights a second, and at most a quarter of one.
    np.testing.assert_allclose(early, [80.0, 30.0, 160.0, 170.0])
    np.testing.assert_allclose(late, [75.0, 25.0, 165.0, 175.0])


def test_one_who_passes_in_front_of_another_does_not_stand_for_both():
    memory = LastSeen()
    memory.update(0.0, found(BOX, [110.0, 50.0, 150.0, 150.0]))
    assert held(memory, [(0.1, found(BOX))]) == [1]


def test_boxes_that_are_not_finite_harm_nothing_and_a_state_goes_on():
    memory = LastSeen()
    memory.update(0.0, found([np.nan] * 4, BOX, unchecked=np.array([OTHER], np.float32)))
    other = LastSeen()
    other.restore(json.loads(json.dumps(memory.state())))
    np.testing.assert_array_equal(other.update(0.5, found()), memory.update(0.5, found()))
    assert len(other.update(0.6, found())) == 2

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_app.last_seen import LastSeen
from edge_app.records import Detections

BOX, OTHER = [100.0, 50.0, 140.0, 150.0], [300.0, 50.0, 340.0, 150.0]
RIGHT_HALF = np.array([[200.0, 0.0, 400.0, 200.0]], np.float32)


def found(*boxes, blind=None):
    bbox = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(bbox, np.full(len(bbox), 0.2, np.float32), blind=blind)


def held(memory, frames):
    """Show (second, detections) and return how many places are held at each of them."""
    return [len(memory.update(time_s, detections)) for time_s, detections in frames]


def test_whoever_is_found_again_is_held_nowhere_and_whoever_is_not_for_two_seconds():
    memory = LastSeen()
    moved = [104.0, 50.0, 144.0, 150.0]
    assert held(memory, [(0.0, found(BOX)), (0.1, found(moved))]) == [0, 0]
    assert held(memory, [(0.1 + k / 10, found()) for k in range(1, 30)]) == [1] * 20 + [0] * 9


def test_a_place_that_was_not_looked_at_is_held_until_it_was():
    memory = LastSeen()
    assert held(memory, [(0.0, found(BOX, OTHER))]) == [0]
    blind = [(k / 10, found(blind=RIGHT_HALF)) for k in range(1, 100)]
    assert held(memory, blind) == [2] * 20 + [1] * 79
    assert held(memory, [(10 + k / 10, found()) for k in range(30)])[-1] == 0


def test_frames_that_were_passed_over_change_nothing():
    memory = LastSeen()
    memory.update(0.0, found(BOX))
    for k in range(1, 1000):
        np.testing.assert_array_equal(memory.update(float(k), Detections.empty(passed_over=True)), [BOX])


def test_the_longer_nobody_is_found_the_wider_the_place_for_they_may_walk():
    memory = LastSeen()
    memory.update(0.0, found(BOX))
    (early,), (late,) = memory.update(0.25, found()), memory.update(1.5, found())
    # 0.8 heights a second, and at most half a height.
    np.testing.assert_allclose(early, [80.0, 30.0, 160.0, 170.0])
    np.testing.assert_allclose(late, [50.0, 0.0, 190.0, 200.0])


def test_one_who_passes_in_front_of_another_does_not_stand_for_both():
    memory = LastSeen()
    memory.update(0.0, found(BOX, [110.0, 50.0, 150.0, 150.0]))
    assert held(memory, [(0.1, found(BOX))]) == [1]


def test_boxes_that_are_not_finite_harm_nothing_and_a_state_goes_on():
    memory = LastSeen()
    memory.update(0.0, found([np.nan] * 4, BOX))
    other = LastSeen()
    other.restore(json.loads(json.dumps(memory.state())))
    np.testing.assert_array_equal(other.update(0.5, found()), memory.update(0.5, found()))
    assert len(other.update(0.6, found())) == 1
    other.forget()
    assert len(other.update(0.7, found())) == 0


@pytest.mark.parametrize("blind", [None, RIGHT_HALF, np.array([[-np.inf, -np.inf, np.inf, np.inf]], np.float32)])
def test_a_frame_tells_where_it_was_not_looked_at(blind):
    frame = found(BOX, OTHER, blind=blind)
    expected = {None: [False, False], 1: [False, True]}.get(None if blind is None else 1)
    if blind is not None and np.isinf(blind).all():
        expected = [True, True]
    assert frame.is_blind_at(frame.bbox).tolist() == expected
    assert frame[:1].passed_over is (expected == [True, True])

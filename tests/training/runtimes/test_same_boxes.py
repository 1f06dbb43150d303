from __future__ import annotations

import numpy as np

from edge_app.records import Detections
from training.runtimes.same_boxes import compare_anchors, compare_people


def people(*rows):
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(values[:, :4], values[:, 4])


ONE = (0, 0, 100, 200, 0.5)


def test_the_same_people_are_the_same():
    found = compare_people([people(ONE)], [people(ONE)])
    assert (found.people, found.apart, found.least_iou, found.most_score, found.same) == (1, 0, 1.0, 0.0, True)


def test_a_box_that_moved_a_lost_one_and_an_added_one_are_beyond():
    # 100 by 200 moved by 2 pixels: 98 / 102 is 0.961.
    moved = compare_people([people(ONE)], [people((2, 0, 102, 200, 0.55))])
    assert (moved.apart, moved.least_iou, moved.most_score, moved.same) == (1, 0.9608, 0.05, False)
    lost = compare_people([people(ONE)], [people()])
    assert (lost.apart, lost.least_iou, lost.same) == (1, 0.0, False)
    added = compare_people([people(ONE)], [people(ONE, (300, 0, 400, 200, 0.5))])
    assert (added.apart, added.same) == (1, False)


def test_one_at_the_threshold_may_come_and_go():
    weak = (300, 0, 400, 200, 0.303)
    assert compare_people([people(ONE, weak)], [people(ONE)]).same
    assert compare_people([people(ONE)], [people(ONE, weak)]).same


def test_two_people_who_became_one_are_told():
    near = (2, 0, 102, 200, 0.5)
    assert compare_people([people(ONE, near)], [people(ONE)]).apart == 2


def test_another_pick_of_equal_score_is_counted_apart():
    found = compare_people([people(ONE)], [people((4, 0, 104, 200, 0.5))])
    assert (found.apart, found.ties) == (1, 1)


def test_anchors_are_compared_before_people_are_picked():
    boxes, scores = np.zeros((2, 5, 4), np.float32), np.full((2, 5, 2), 0.5, np.float32)
    other_boxes, other_scores = boxes.copy(), scores.copy()
    other_boxes[0, 1, 2] += 0.04
    other_scores[1, 3, 1] += 0.03125
    assert compare_anchors((boxes, scores), (boxes, scores)) == (0.0, 0.0)
    assert compare_anchors((boxes, scores), (other_boxes, other_scores)) == (0.2, 0.03125)

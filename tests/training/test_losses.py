from __future__ import annotations

import numpy as np
import pytest

from edge_app.box_decoding import decode_boxes
from edge_app.box_overlap import iou_matrix
from training.model.losses import quality_loss, ssd_loss


def loss(logits, person, weight=None, encodings=None, boxes=None):
    person = np.array(person, np.float32)
    shape = person.shape
    weight = np.ones(shape, np.float32) if weight is None else np.array(weight, np.float32)
    encodings = np.zeros((*shape, 4), np.float32) if encodings is None else np.array(encodings, np.float32)
    boxes = np.zeros((*shape, 4), np.float32) if boxes is None else np.array(boxes, np.float32)
    parts = ssd_loss(encodings, np.array(logits, np.float32), boxes, person, weight)
    return tuple(float(part) for part in parts)


LOG2 = np.log(2.0)


def test_undecided_logits_cost_two_logs_of_two_per_counted_anchor():
    # one positive and its three hardest of five negatives, both columns each
    _, classification = loss(np.zeros((1, 6, 2)), [[1, 0, 0, 0, 0, 0]])
    assert classification == pytest.approx(4 * 2 * LOG2, rel=1e-5)


def test_the_hardest_negatives_are_the_ones_that_count():
    logits = np.zeros((1, 6, 2))
    logits[0, 1] = [-20.0, 20.0]  # surely a person, and wrong: costs 40
    logits[0, 2:] = [20.0, -20.0]  # surely background, and right: costs nothing
    logits[0, 0] = [-20.0, 20.0]
    assert loss(logits, [[1, 0, 0, 0, 0, 0]])[1] == pytest.approx(40.0, rel=1e-4)


def test_an_anchor_without_weight_costs_nothing():
    logits = np.zeros((1, 3, 2))
    logits[0, 1] = [-20.0, 20.0]
    logits[0, 0] = [-20.0, 20.0]
    logits[0, 2] = [20.0, -20.0]
    assert loss(logits, [[1, 0, 0]], weight=[[1, 0, 1]])[1] == pytest.approx(0.0, abs=1e-4)


def test_a_picture_without_people_still_teaches_what_background_is():
    assert loss(np.zeros((1, 10, 2)), [[0] * 10])[1] == pytest.approx(3 * 2 * LOG2, rel=1e-5)


def test_boxes_cost_smooth_l1_on_positives_only():
    encodings = np.zeros((1, 2, 4))
    encodings[0, 0] = [0.5, 0.0, 0.0, 3.0]  # 0.125 and 2.5
    encodings[0, 1] = 100.0
    assert loss(np.zeros((1, 2, 2)), [[1, 0]], encodings=encodings)[0] == pytest.approx(2.625)


def test_boxes_may_cost_what_is_missing_of_their_generalised_iou():
    """A box of an anchor's height and half its width, and one beside the anchor, half a width away from it."""
    half, beside = [[[0.0, 0.0, 0.0, 5 * np.log(0.5)]]], [[[0.0, 15.0, 0.0, 0.0]]]
    for encodings, wanted in ((np.zeros((1, 1, 4)), 0.0), (half, 0.5), (beside, 1.0 + 0.5 / 2.5)):
        parts = ssd_loss(*(np.array(part, np.float32) for part in (
            encodings, np.zeros((1, 1, 2)), np.zeros((1, 1, 4)), [[1]], [[1]])), by_giou=True)  # fmt: skip
        assert float(parts[0]) == pytest.approx(wanted, abs=1e-6)


def sure(quality):
    """Logits of the person and the background that are right about an overlap."""
    return [np.log((1 - quality) / quality), np.log(quality / (1 - quality))]


def quality(encodings, boxes, logits, person, weight=None):
    arrays = [np.array(value, np.float32) for value in (encodings, logits, boxes, person)]
    weight = np.ones(np.shape(person), np.float32) if weight is None else np.array(weight, np.float32)
    return tuple(float(part) for part in quality_loss(*arrays, weight))


def test_a_score_that_is_the_overlap_costs_nothing_and_a_sure_one_on_a_loose_box_does():
    encodings, boxes = [[[2.0, 1.0, 0.5, -0.5]]], [[[0.0, 0.0, 0.0, 0.0]]]
    anchor = np.array([[0.5, 0.5, 0.2, 0.1]])
    overlap = iou_matrix(decode_boxes(np.array(encodings[0]), anchor), decode_boxes(np.array(boxes[0]), anchor))[0, 0]
    assert 0.2 < overlap < 0.8
    assert quality(encodings, boxes, [[sure(overlap)]], [[1]])[1] == pytest.approx(0.0, abs=1e-6)
    assert quality(encodings, boxes, [[sure(0.99)]], [[1]])[1] > 0.05


def test_boxes_that_do_not_touch_still_pull_towards_each_other():
    far, farther = ([[[shift, 0.0, 0.0, 0.0]]] for shift in (15.0, 40.0))
    near, away = (quality(boxes, np.zeros((1, 1, 4)), [[sure(0.5)]], [[1]])[0] for boxes in (far, farther))
    assert 1.0 < near < away


def test_the_right_box_costs_nothing_and_negatives_have_none():
    box = [[[1.0, -1.0, 0.3, 0.2], [50.0, 50.0, 3.0, 3.0]]]
    located, _ = quality(box, [[box[0][0], [0.0] * 4]], np.zeros((1, 2, 2)), [[1, 0]])
    assert located == pytest.approx(0.0, abs=1e-5)


def test_anchors_without_weight_teach_no_score():
    logits = [[sure(0.5), [-9.0, 9.0]]]
    boxes = np.zeros((1, 2, 4))
    counted, left_out = (quality(boxes, boxes, logits, [[1, 0]], [[1, weight]])[1] for weight in (1, 0))
    assert counted > left_out + 5

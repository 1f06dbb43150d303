from __future__ import annotations

import numpy as np
import pytest

from edge_app.box_decoding import decode_boxes, non_maximum_suppression, one_box_each
from edge_app.box_overlap import iou_matrix
from training.model.anchors import AnchorGenerator
from training.model.backbone import divisible_channels
from training.model.box_coder import decode, encode
from training.model.ssdlite import anchors_of, build_ssdlite, feature_grid


def test_anchors_of_a_cell_are_as_worked_out_by_hand():
    anchors = AnchorGenerator().generate([(2, 2), (1, 1)])
    assert anchors.shape == (2 * 2 * 3 + 6, 4)
    # first cell of the reduced lowest layer: 0.1 square, then 0.2 at 2:1 and 1:2
    root = np.sqrt(2)
    np.testing.assert_allclose(
        anchors[:3],
        [[0.25, 0.25, 0.1, 0.1], [0.25, 0.25, 0.2 / root, 0.2 * root], [0.25, 0.25, 0.2 * root, 0.2 / root]],
    )
    # rows run over x first
    np.testing.assert_allclose(anchors[3, :2], [0.25, 0.75])
    # last map: its square, and one more between its scale and one
    np.testing.assert_allclose(anchors[12], [0.5, 0.5, 0.95, 0.95])
    np.testing.assert_allclose(anchors[-1], [0.5, 0.5, np.sqrt(0.95), np.sqrt(0.95)])


def test_a_box_is_coded_as_worked_out_by_hand():
    anchors = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    box = np.array([[0.5, 0.4, 0.7, 0.8]], np.float32)  # centre (0.6, 0.6), 0.2 high, 0.4 wide
    expected = [[0.1 / 0.2 * 10, 0.1 / 0.4 * 10, 0.0, 0.0]]
    np.testing.assert_allclose(np.asarray(encode(box, anchors)), expected, atol=1e-5)
    np.testing.assert_allclose(decode_boxes(np.array(expected), anchors.astype(float)), box, atol=1e-6)


def test_encoding_and_both_decoders_undo_one_another():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (50, 2))
    boxes = np.hstack([low, low + rng.uniform(0.01, 0.3, (50, 2))]).astype(np.float32)
    anchors = AnchorGenerator().generate([(3, 3), (2, 2)])[:50].astype(np.float32)
    anchors = np.resize(anchors, (50, 4))
    codes = encode(boxes, anchors)
    np.testing.assert_allclose(np.asarray(decode(codes, anchors)), boxes, atol=1e-5)
    np.testing.assert_allclose(decode_boxes(np.asarray(codes), anchors.astype(float)), boxes, atol=1e-5)


def test_suppression_keeps_touching_people_and_drops_the_same_one_twice():
    touching = np.array([[0.4, 0.50, 0.45, 0.52], [0.4, 0.52, 0.45, 0.54]])
    assert non_maximum_suppression(touching, np.array([0.7, 0.8])).tolist() == [1, 0]
    twice = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.82], [0.0, 0.0, 1.0, 0.5]])
    assert non_maximum_suppression(twice, np.array([0.9, 0.8, 0.7])).tolist() == [0, 2]
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    many = np.arange(5)[:, None] + np.array([[0.0, 0.0, 0.5, 0.5]])
    assert non_maximum_suppression(many, np.arange(5.0), most=2).tolist() == [4, 3]


def test_the_box_of_a_person_is_the_mean_of_those_that_lie_there():
    boxes = np.array(
        [
            [0.0, 0.0, 10.0, 20.0],  # the surest one
            [0.0, 4.0, 10.0, 20.0],  # there too: IoU 0.8
            [0.0, 0.0, 10.0, 12.0],  # a part of the same person, IoU 0.6: neither somebody else nor in the mean
            [50.0, 0.0, 60.0, 20.0],  # somebody else
            [50.0, 0.0, 60.0, 21.0],  # too weak to be somebody, but it says where
        ]
    )
    scores = np.array([0.8, 0.4, 0.3, 0.6, 0.1])
    found, of_found = one_box_each(boxes, scores, lowest=0.2)
    np.testing.assert_allclose(found, [[0, 4 / 3, 10, 20], [50, 0, 60, 20 + 1 / 7]])
    assert of_found.tolist() == [0.8, 0.6]


def test_a_box_between_two_people_draws_them_no_nearer_to_one_another():
    left, right = [0.0, 0.0, 30.0, 80.0], [10.0, 0.0, 40.0, 82.0]
    between = [[5.0, 0.0, 35.0, 80.0], [5.0, 0.0, 35.0, 82.0]]
    overlap = iou_matrix(np.array(between), np.array([left, right]))
    assert (overlap > 0.65).all()
    assert iou_matrix(np.array([left]), np.array([right])) < 0.5
    found, _ = one_box_each(np.array([left, right, *between]), np.array([0.8, 0.7, 0.5, 0.5]))
    np.testing.assert_allclose(found[:, 0], [(0.5 * 5 + 0.5 * 5) / 1.8, 10])


def test_the_mean_depends_on_no_order_of_rows_even_where_scores_are_equal():
    rng = np.random.default_rng(5)
    corner = np.repeat(rng.uniform(0, 300, (12, 2)), 6, axis=0) + rng.normal(0, 2, (72, 2))
    size = np.array([30.0, 80.0])
    boxes = np.concatenate([corner, corner + size], axis=1)
    scores = rng.integers(1, 4, 72) / np.float32(4)
    found, of_found = one_box_each(boxes, scores)
    assert len(found) >= 12
    for _ in range(5):
        order = rng.permutation(72)
        again, of_again = one_box_each(boxes[order], scores[order])
        np.testing.assert_array_equal(again, found)
        np.testing.assert_array_equal(of_again, of_found)


def test_boxes_that_are_no_numbers_or_have_no_area_spoil_nobody_else():
    boxes = np.array([[0.0, 0, 10, 20], [np.nan, 0, 10, 20], [0, 0, 10, 20], [40, 40, 40, 40]])
    found, of_found = one_box_each(boxes, np.array([0.8, 0.9, np.nan, 0.5]))
    assert found.tolist() == [[0, 0, 10, 20], [40, 40, 40, 40]]
    assert of_found.tolist() == [0.8, 0.5]
    nobody, of_nobody = one_box_each(np.zeros((0, 4)), np.zeros(0))
    assert (nobody.shape, of_nobody.shape) == ((0, 4), (0,))


def test_the_network_has_the_published_feature_maps_and_anchor_count():
    model = build_ssdlite(batch_size=1)
    assert feature_grid(model) == [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    assert model.output["box_encodings"].shape == (1, 1917, 4)
    assert model.output["class_logits"].shape == (1, 1917, 2)
    assert anchors_of(model).shape == (1917, 4)


def test_other_sizes_widths_and_class_counts_can_be_built():
    model = build_ssdlite(height=160, width=224, classes=3, alpha=0.35)
    outputs = model(np.zeros((2, 160, 224, 3), np.float32))
    anchors = anchors_of(model)
    assert outputs["box_encodings"].shape == (2, len(anchors), 4)
    assert outputs["class_logits"].shape == (2, len(anchors), 4)


@pytest.mark.parametrize(("channels", "rounded"), [(32, 32), (11.2, 16), (33.6, 32), (24 * 0.35, 8), (96 * 0.5, 48)])
def test_channels_are_rounded_by_mobilenets_rule(channels, rounded):
    assert divisible_channels(channels) == rounded


def test_distillation_costs_nothing_where_outputs_agree_and_ignores_what_is_background_to_both():
    from training.model.losses import distillation_loss

    rng = np.random.default_rng(0)
    boxes = rng.normal(size=(1, 6, 4)).astype(np.float32)
    logits = np.full((1, 6, 2), -9.0, np.float32)
    logits[0, 2, 1] = 3.0
    assert float(distillation_loss(boxes, logits, boxes, logits)) == 0.0
    background = boxes.copy()
    background[0, 0] += 5.0
    assert float(distillation_loss(background, logits, boxes, logits)) == 0.0
    weaker = logits.copy()
    weaker[0, 2, 1] = 0.0
    assert float(distillation_loss(boxes, weaker, boxes, logits)) == pytest.approx(4 * 0.4526**2, rel=1e-3)
    still_background = logits.copy()
    still_background[0, 4] = -6.0
    assert float(distillation_loss(boxes, still_background, boxes, logits)) < 1e-4

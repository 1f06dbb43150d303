from __future__ import annotations

import numpy as np

from training.model.anchors import AnchorGenerator
from training.model.box_coder import encode
from training.model.matcher import match

NONE = np.zeros((0, 4))
# centre y, x, height, width
ANCHORS = np.array([[0.25, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])


def test_an_anchor_takes_the_person_it_covers():
    targets = match(np.array([[0.0, 0.0, 0.5, 0.5]]), NONE, ANCHORS)
    assert targets.person.tolist() == [1, 0, 0, 0]
    assert targets.weight.tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(targets.boxes, 0.0, atol=1e-6)


def test_a_person_whom_no_anchor_covers_well_takes_the_best_one():
    targets = match(np.array([[0.6, 0.6, 0.7, 0.65]]), NONE, ANCHORS)
    assert targets.person.tolist() == [0, 0, 0, 1]


def test_an_unsure_overlap_teaches_nothing():
    # IoU 1/3 with the two left anchors: the first is forced, the second lies between the thresholds
    targets = match(np.array([[0.25, 0.0, 0.75, 0.5]]), NONE, ANCHORS, matched=0.5, unmatched=0.3)
    assert targets.person.tolist() == [1, 0, 0, 0]
    assert targets.weight.tolist() == [1, 1, 0, 1]


def test_ignored_regions_take_the_weight_of_anchors_without_people():
    targets = match(np.array([[0.0, 0.0, 0.5, 0.5]]), np.array([[0.0, 0.0, 0.5, 1.0]]), ANCHORS)
    assert targets.person.tolist() == [1, 0, 0, 0]
    assert targets.weight.tolist() == [1, 0, 1, 1]


def test_a_picture_without_people_is_all_background():
    targets = match(NONE, NONE, ANCHORS)
    assert targets.person.sum() == 0
    assert targets.weight.sum() == 4


def test_targets_are_the_box_coders_own_encodings():
    anchors = AnchorGenerator().generate([(4, 4), (2, 2)])
    box = np.array([[0.1, 0.2, 0.7, 0.5]])
    targets = match(box, NONE, anchors)
    rows = np.flatnonzero(targets.person)
    assert len(rows) >= 1
    expected = np.asarray(
        encode(np.repeat(box, len(rows), axis=0).astype(np.float32), anchors[rows].astype(np.float32))
    )
    np.testing.assert_allclose(targets.boxes[rows], expected, atol=1e-4)

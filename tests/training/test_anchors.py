from __future__ import annotations

import numpy as np
import pytest

from edge_app.box_decoding import decode_boxes
from edge_app.errors import UserError
from training.model.anchors import AnchorGenerator, AnchorShape, dense_shapes, generate_anchors
from training.model.fit_anchors import coverage, fit_anchors
from training.model.prune_anchors import prune_anchors
from training.model.ssdlite import anchors_of, build_ssdlite, feature_grid, shapes_of
from training.model.transfer import transfer_weights

GRID = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]


def test_dense_anchors_stand_evenly_in_their_cell():
    anchors = generate_anchors([dense_shapes(0.1, 0.05, (1, 2))], [(2, 2)])
    np.testing.assert_allclose(anchors[:2], [[0.25, 0.125, 0.1, 0.05], [0.25, 0.375, 0.1, 0.05]])
    np.testing.assert_allclose(anchors[2, :2], [0.25, 0.625])


def test_fitted_anchors_cover_people_that_the_default_ones_miss():
    rng = np.random.default_rng(0)
    centre, height = rng.uniform(0.2, 0.8, (500, 2)), rng.uniform(0.08, 0.2, (500, 1))
    size = np.hstack([height, height * rng.uniform(0.25, 0.4, (500, 1))])
    boxes = np.hstack([centre - size / 2, centre + size / 2])
    shapes = AnchorGenerator().shapes(6)
    fitted = fit_anchors(boxes, GRID, shapes, [4, 3, 2, 2, 2, 2])
    before = coverage(boxes, generate_anchors(shapes, GRID), 0.5).bands[0]
    after = coverage(boxes, generate_anchors(fitted, GRID), 0.5).bands[0]
    assert before[1] == after[1] == 500
    assert before[3] < 0.4
    assert after[3] > 0.85
    # All are under five cells of the first map, so the others keep their shapes.
    assert fitted[1:] == shapes[1:]


def test_coverage_is_the_best_iou_worked_out_by_hand():
    boxes = np.array([[0.0, 0.0, 0.4, 0.2], [0.5, 0.5, 0.9, 0.9]])
    anchors = np.array([[0.2, 0.1, 0.4, 0.1], [0.7, 0.7, 0.4, 0.4]])
    name, people, mean, recall = coverage(boxes, anchors, 0.6).bands[0]
    assert (name, people, recall) == ("all", 2, 0.5)
    assert mean == pytest.approx((0.5 + 1.0) / 2)


def test_other_anchors_go_on_to_predict_the_same_boxes():
    """What every new anchor predicts is what the most similar old anchor of its cell predicted."""
    source = build_ssdlite(height=96, width=96, alpha=0.35)
    shapes = list(shapes_of(source))
    shapes[0] = (*dense_shapes(0.12, 0.05, (2, 3)), AnchorShape(0.3, 0.1), *shapes[0][:1])
    target = build_ssdlite(height=96, width=96, alpha=0.35, anchors=shapes)
    transfer_weights(source, target)
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    old, new = source(pixels), target(pixels)
    old_boxes = decode_boxes(np.asarray(old["box_encodings"])[0], anchors_of(source)).reshape(-1, 4)
    new_boxes = decode_boxes(np.asarray(new["box_encodings"])[0], anchors_of(target)).reshape(-1, 4)
    old_logits, new_logits = np.asarray(old["class_logits"])[0], np.asarray(new["class_logits"])[0]
    cells = 6 * 6
    # By overlap of sizes: the dense shape and the tall one go with the 0.1 square and with the 1:2 anchor.
    nearest = [0, 0, 0, 0, 0, 0, 2, 0]
    for cell in range(cells):
        for place, source_anchor in enumerate(nearest):
            k, j = cell * 8 + place, cell * 3 + source_anchor
            np.testing.assert_allclose(new_boxes[k], old_boxes[j], atol=1e-4)
            np.testing.assert_allclose(new_logits[k], old_logits[j], atol=1e-4)
    np.testing.assert_allclose(new_boxes[cells * 8 :], old_boxes[cells * 3 :], atol=1e-4)


def test_the_person_row_is_picked_out_of_many_classes():
    source = build_ssdlite(height=96, width=96, alpha=0.35, classes=90)
    target = build_ssdlite(height=96, width=96, alpha=0.35, classes=1)
    transfer_weights(source, target, columns=(0, 1))
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(target(pixels)["class_logits"]), np.asarray(source(pixels)["class_logits"])[..., :2], atol=1e-5
    )


def test_a_checkpoint_of_another_width_is_named():
    source, target = build_ssdlite(height=96, width=96, alpha=0.5), build_ssdlite(height=96, width=96, alpha=0.35)
    with pytest.raises(UserError, match="give one of the same width"):
        transfer_weights(source, target)


def test_anchors_of_one_size_that_stand_apart_keep_their_own_heads():
    shapes = (
        (AnchorShape(0.1, 0.04, 0.0, -0.25), AnchorShape(0.1, 0.04, 0.0, 0.25), AnchorShape(0.2, 0.08)),
        *(AnchorGenerator().shapes(6)[1:]),
    )
    source = build_ssdlite(height=160, width=160, alpha=0.35, anchors=shapes)
    target = build_ssdlite(height=160, width=160, alpha=0.35, anchors=shapes)
    assert transfer_weights(source, target) == set()
    for layer in target.layers:
        for mine, theirs in zip(layer.get_weights(), source.get_layer(layer.name).get_weights()):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_a_detector_at_another_input_size_keeps_its_weights_and_anchors():
    from training.importing.weights import exportable

    source = build_ssdlite(height=160, width=160, alpha=0.35)
    other = exportable(source, 96)
    assert other.inputs[0].shape == (1, 96, 96, 3)
    assert shapes_of(other) == shapes_of(source)
    weights = {layer.name: layer.get_weights() for layer in source.layers}
    for layer in other.layers:
        for mine, theirs in zip(layer.get_weights(), weights[layer.name]):
            np.testing.assert_array_equal(mine, theirs)


def test_a_pruned_detector_goes_on_to_predict_with_the_anchors_that_it_keeps():
    source = build_ssdlite(height=96, width=96, alpha=0.35)
    pruned = prune_anchors(source, {0: {1}, 2: {0, 5}})
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    counts = [len(cell) for cell in shapes_of(source)]
    keep = np.concatenate(
        [
            np.tile([place not in {0: {1}, 2: {0, 5}}.get(index, set()) for place in range(count)], rows * columns)
            for index, (count, (rows, columns)) in enumerate(zip(counts, feature_grid(source)))
        ]
    )
    np.testing.assert_allclose(anchors_of(pruned), anchors_of(source)[keep])
    before, after = source(pixels), pruned(pixels)
    for name in before:
        np.testing.assert_allclose(np.asarray(after[name])[0], np.asarray(before[name])[0][keep], atol=1e-5)


@pytest.mark.parametrize(
    ("without", "said"), [({9: {0}}, "no anchors"), ({0: {7}}, "no anchors"), ({0: {0, 1, 2}}, "no anchor left")]
)
def test_anchors_that_are_not_there_cannot_be_left_out(without, said):
    with pytest.raises(UserError, match=said):
        prune_anchors(build_ssdlite(height=96, width=96, alpha=0.35), without)

from __future__ import annotations

import pytest

from edge_app.errors import UserError
from edge_app.manifest import OutputSpec
from edge_app.output_mapping import map_outputs

BOXES, VECTOR, ONE = (1, 10, 4), (1, 10), (1,)
NAMES = ["a", "b", "c", "d"]


def positions(mapping):
    return mapping.boxes, mapping.classes, mapping.scores, mapping.count


def test_tf1_order_is_known_by_shape():
    assert positions(map_outputs("m", [BOXES, VECTOR, VECTOR, ONE], NAMES, None, None)) == (0, 1, 2, 3)


def test_tf2_order_is_known_by_shape():
    assert positions(map_outputs("m", [VECTOR, BOXES, ONE, VECTOR], NAMES, None, None)) == (1, 3, 0, 2)


def test_a_signature_decides_before_shapes():
    signature = {"output_0": "d", "output_1": "c", "output_2": "b", "output_3": "a"}
    mapping = map_outputs("m", [BOXES, VECTOR, VECTOR, ONE], NAMES, signature, None)
    assert positions(mapping) == (0, 1, 2, 3)
    swapped = {**signature, "output_1": "b", "output_2": "c"}
    assert positions(map_outputs("m", [BOXES, VECTOR, VECTOR, ONE], NAMES, swapped, None)) == (0, 2, 1, 3)


def test_a_manifest_decides_before_all():
    spec = OutputSpec(boxes=3, classes=0, scores=1, count=2, max_detections=10)
    signature = {"output_0": "c", "output_1": "a", "output_2": "b", "output_3": "d"}
    mapping = map_outputs("m", [VECTOR, VECTOR, ONE, BOXES], NAMES, signature, spec)
    assert (*positions(mapping), mapping.found_by) == (3, 0, 1, 2, "manifest")


@pytest.mark.parametrize(
    "shapes",
    [
        [VECTOR, VECTOR, BOXES, ONE],  # neither of the two known orders
        [(1, 1, 4), (1, 1), (1, 1), (1, 1)],  # one detection: no count to be told apart
        [BOXES, BOXES, VECTOR, ONE],
    ],
)
def test_what_cannot_be_told_apart_is_refused(shapes):
    with pytest.raises(UserError, match="does not tell which is which; write a manifest"):
        map_outputs("m", shapes, NAMES, None, None)


def test_a_model_without_post_process_is_refused():
    with pytest.raises(UserError, match=r"has 2 outputs.*export it with the detection post-process"):
        map_outputs("m", [(1, 1917, 4), (1, 1917, 2)], ["a", "b"], None, None)


def test_a_manifest_that_does_not_fit_is_refused():
    spec = OutputSpec(boxes=1, classes=0, scores=2, count=3, max_detections=10)
    with pytest.raises(UserError, match="correct the manifest"):
        map_outputs("m", [BOXES, VECTOR, VECTOR, ONE], NAMES, None, spec)

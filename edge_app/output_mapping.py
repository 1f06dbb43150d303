"""Which output tensor is which: proven by manifest, signature or shape, refused when it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from edge_app.errors import UserError
from edge_app.manifest import OutputSpec

Shape = tuple[int, ...]

# Names that exporters give to the outputs in the one signature of a detector (TF OD API's TF2 exporter, pycoral).
_SIGNATURE_NAMES = {"count": "output_0", "scores": "output_1", "classes": "output_2", "boxes": "output_3"}


@dataclass(frozen=True)
class OutputMapping:
    """Positions among the interpreter's outputs, and how they were found."""

    boxes: int
    classes: int
    scores: int
    count: int
    found_by: str


def map_outputs(
    model_name: str,
    shapes: Sequence[Shape],
    names: Sequence[str],
    signature: Optional[dict[str, str]],
    spec: Optional[OutputSpec],
) -> OutputMapping:
    """Find boxes, classes, scores and count among a detector's outputs.

    Args:
        model_name: for messages.
        shapes: shape of each output tensor, in the interpreter's order.
        names: name of each output tensor.
        signature: output name in the model's only signature → tensor name, or None.
        spec: the manifest's output section, or None.

    Raises:
        UserError: the model is not a detector with post-process, or the order is ambiguous.
    """
    if len(shapes) != 4:
        raise UserError(
            f"model {model_name} has {len(shapes)} outputs, but a detector has four (boxes, classes, scores, count); "
            "export it with the detection post-process operator"
        )
    if spec is not None:
        mapping = OutputMapping(spec.boxes, spec.classes, spec.scores, spec.count, "manifest")
    else:
        mapping = _by_signature(names, signature) or _by_shape(model_name, shapes)
    _check(model_name, shapes, mapping)
    return mapping


def _by_signature(names: Sequence[str], signature: Optional[dict[str, str]]) -> Optional[OutputMapping]:
    if not signature or not set(_SIGNATURE_NAMES.values()) <= set(signature):
        return None
    positions: dict[str, Any] = {}
    for role, output in _SIGNATURE_NAMES.items():
        if signature[output] not in names:
            return None
        positions[role] = list(names).index(signature[output])
    return OutputMapping(**positions, found_by="signature")


def _by_shape(model_name: str, shapes: Sequence[Shape]) -> OutputMapping:
    """Decide by shape where boxes and count are, and by the two known orders where classes and scores are."""
    boxes = [index for index, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 4]
    count = [index for index, shape in enumerate(shapes) if shape in ((1,), ())]
    if len(boxes) == 1 and len(count) == 1:
        if (boxes[0], count[0]) == (0, 3):
            return OutputMapping(0, 1, 2, 3, "shape (TF1 order)")
        if (boxes[0], count[0]) == (1, 2):
            return OutputMapping(1, 3, 0, 2, "shape (TF2 order)")
    raise UserError(
        f"the outputs of model {model_name} have the shapes {[list(shape) for shape in shapes]}, which does not tell "
        "which is which; write a manifest beside it that says so"
    )


def _check(model_name: str, shapes: Sequence[Shape], mapping: OutputMapping) -> None:
    positions = (mapping.boxes, mapping.classes, mapping.scores, mapping.count)
    fits = sorted(positions) == [0, 1, 2, 3]
    if fits:
        boxes, classes, scores, count = (shapes[position] for position in positions)
        fits = len(boxes) == 3 and boxes[2] == 4 and classes == scores == (1, boxes[1]) and count in ((1,), ())
    if not fits:
        raise UserError(
            f"the outputs of model {model_name} have the shapes {[list(shape) for shape in shapes]}, which are not "
            f"boxes, classes, scores and count at the positions {list(positions)} (by {mapping.found_by}); "
            "correct the manifest or export the model with the detection post-process operator"
        )

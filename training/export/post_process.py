"""The detection post-process operator: appended to a raw TensorFlow Lite model, or changed in a whole one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from edge_app.box_decoding import NMS_IOU, SCALES, UNSUPPRESSED
from edge_app.errors import UserError
from edge_app.records import FloatArray

OPERATOR = "TFLite_Detection_PostProcess"
# Anchors under this score, and those after so many surer ones, show nobody to speak of: in 95 of 100 scenes composed of
# COCO128 fewer than 315 have the score, in 95 of 100 pictures of COCO128 itself fewer than 164.
LOWEST_SCORE = 0.02
_MOST_ANCHORS = 200
# Rows where the model suppresses.
_MOST_PEOPLE = 40


@dataclass(frozen=True)
class PostProcess:
    """Options of the operator.

    Its time on a board's CPU grows with the rows times the anchors over the score: every row is compared with all of
    them (10 to 100 rows of 1,917 anchors cost 17 ms on a Cortex-A53 where no score is asked for). So anchors that show
    nobody are kept out.

    Attributes:
        max_detections: rows of its outputs: anchors, or people where it suppresses.
        iou: of non-maximum suppression; 1 suppresses nothing, the device makes one box of those that show a person.
        lowest_score: of an anchor that is looked at.
        classes: without the background.
    """

    max_detections: int = _MOST_ANCHORS
    iou: float = 1.0
    lowest_score: float = LOWEST_SCORE
    classes: int = 1

    @classmethod
    def suppressing(cls) -> PostProcess:
        """Return options with which no two rows show one person, for programs that do not tell them apart."""
        return cls(_MOST_PEOPLE, NMS_IOU)

    @property
    def suppresses(self) -> bool:
        """Whether no two rows show one person."""
        return self.iou < 1.0


def append_post_process(content: bytes, anchors: FloatArray, options: PostProcess) -> bytes:
    """Append ``TFLite_Detection_PostProcess`` to a model with float outputs boxes and scores.

    Args:
        content: model with the outputs (1, anchors, 4) box encodings and (1, anchors, 1 + classes) scores, any order.
        anchors: (anchors, 4) centre y, centre x, height, width.
        options: of the operator.

    Returns:
        A model with the outputs boxes (1, n, 4), classes (1, n), scores (1, n), count (1,), in this order.
    """
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 - heavy
    from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415 - heavy

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    boxes, scores = _raw_outputs(graph)

    def add_tensor(name: str, shape: list[int], buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, buffer
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(anchors, "<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    anchor_tensor = add_tensor("anchors", list(anchors.shape), len(model.buffers) - 1)
    outputs = [add_tensor(name, shape) for name, shape in _outputs_of(options).items()]

    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = OPERATOR, 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [boxes, scores, anchor_tensor], outputs
    operator.customOptions = list(_custom_options(options))
    operator.customOptionsFormat = schema.CustomOptionsFormat.FLEXBUFFERS
    graph.operators.append(operator)
    graph.outputs = outputs
    # The converter's signature names the raw outputs, which are outputs no more; old runtimes crash on stale ones.
    model.signatureDefs = []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def change_post_process(content: bytes, options: PostProcess) -> bytes:
    """Give the operator of a whole model other options; the network, anchors, scales and classes stay.

    Raises:
        UserError: the model is no detector of one class with the operator at its end.
    """
    from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415 - heavy

    try:
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        graph = model.subgraphs[0]
        operator = graph.operators[-1]
    except Exception as error:
        raise UserError("the model is damaged or no TensorFlow Lite model; give a .tflite file") from error
    if model.operatorCodes[operator.opcodeIndex].customCode not in (OPERATOR, OPERATOR.encode()):
        raise UserError(f"the model does not end in {OPERATOR}; give a detector that 'export' or 'quantize' made")
    before = flexbuffers.Loads(bytes(operator.customOptions))
    if before.get("use_regular_nms") or before["num_classes"] != 1 or before["max_classes_per_detection"] != 1:
        raise UserError(f"the model's {OPERATOR} tells several classes apart, which is not changed; export it anew")
    after = {**before, **_changeable(options)}
    operator.customOptions = list(_packed(after))
    for tensor, (name, shape) in zip(operator.outputs, _outputs_of(options).items()):
        graph.tensors[tensor].name, graph.tensors[tensor].shape = name, shape
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _outputs_of(options: PostProcess) -> dict[str, list[int]]:
    rows = options.max_detections
    shapes = {"boxes": [1, rows, 4], "classes": [1, rows], "scores": [1, rows], "count": [1]}
    prefix = "" if options.suppresses else UNSUPPRESSED
    return {prefix + name: shape for name, shape in shapes.items()}


def _raw_outputs(graph: Any) -> tuple[int, int]:
    """Tell box encodings from scores: four columns with linear values against scores from a LOGISTIC."""
    outputs = list(graph.outputs)
    if len(outputs) != 2:
        raise ValueError(f"a raw detector has two outputs, this one has {len(outputs)}")
    boxes = [tensor for tensor in outputs if b"box_encodings" in _name(graph.tensors[tensor])]
    if len(boxes) != 1:
        boxes = [tensor for tensor in outputs if int(graph.tensors[tensor].shape[-1]) == 4]
    if len(boxes) != 1:
        raise ValueError("boxes and scores of the raw detector cannot be told apart")
    scores = [tensor for tensor in outputs if tensor != boxes[0]]
    return boxes[0], scores[0]


def _name(tensor: Any) -> bytes:
    name = tensor.name or b""
    return name if isinstance(name, bytes) else str(name).encode()


def _changeable(options: PostProcess) -> dict[str, float]:
    return {
        "max_detections": options.max_detections,
        "nms_score_threshold": options.lowest_score,
        "nms_iou_threshold": options.iou,
    }


def _custom_options(options: PostProcess) -> bytes:
    scales = dict(zip(("y_scale", "x_scale", "h_scale", "w_scale"), SCALES))
    fixed = {"max_classes_per_detection": 1, "detections_per_class": 100, "use_regular_nms": False}
    return _packed({**fixed, "num_classes": options.classes, **_changeable(options), **scales})


def _packed(values: dict[str, Any]) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in sorted(values.items()):
            if isinstance(value, bool):
                builder.Bool(name, value)
            elif isinstance(value, int):
                builder.Int(name, value)
            else:
                builder.Float(name, value)
    return bytes(builder.Finish())

"""Appends the detection post-process operator to a raw two-output TensorFlow Lite model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from edge_app.box_decoding import NMS_IOU, SCALES
from edge_app.records import FloatArray

OPERATOR = "TFLite_Detection_PostProcess"
# A score under which nothing is kept before suppression; the device's threshold decides later.
_NMS_SCORE_THRESHOLD = 1e-8


@dataclass(frozen=True)
class PostProcess:
    """Options of the operator.

    Attributes:
        max_detections: rows of its outputs; on a Cortex-A53 every ten cost about 2 ms, so no more than a scene needs.
        iou: of non-maximum suppression.
        classes: without the background.
    """

    max_detections: int = 40
    iou: float = NMS_IOU
    classes: int = 1


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
    rows = options.max_detections
    shapes = {"boxes": [1, rows, 4], "classes": [1, rows], "scores": [1, rows], "count": [1]}
    outputs = [add_tensor(name, shape) for name, shape in shapes.items()]

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


def _custom_options(options: PostProcess) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", options.max_detections)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", 100)
        builder.Int("num_classes", options.classes)
        builder.Bool("use_regular_nms", False)
        builder.Float("nms_score_threshold", _NMS_SCORE_THRESHOLD)
        builder.Float("nms_iou_threshold", options.iou)
        for name, scale in zip(("y_scale", "x_scale", "h_scale", "w_scale"), SCALES):
            builder.Float(name, scale)
    return bytes(builder.Finish())

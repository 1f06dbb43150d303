"""Which operators the Edge TPU takes, within which limits, and what the compiler writes about one that it leaves.

The limits are those of Coral's table of supported operations for runtime 14 (coral.ai/docs/edgetpu/models-intro). Where
real compiler logs or compiled models show more than the table does, a comment says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Optional

import numpy as np

from training.compile.graph import Graph, Operator, Tensor
from training.compile.log import MAPPED

UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
DATA_TYPE = "Operation is working on an unsupported data type"
NOT_SUPPORTED = "Operation not supported"
SUBGRAPH = "More than one subgraph is not supported"
STRIDES = "Only Strided-Slice with unitary strides supported"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"

_EIGHT_BIT = ("INT8", "UINT8")
_MAX_SOFTMAX = 16_000
# "Depending on input/output size" says the table. 10 separates what is mapped from what is not in the public pairs of a
# model and its compiled twin: it was fitted to them (15.6 and 33 are not mapped).
_MAX_RESIZE = 10.0


def status_alone(graph: Graph, operator: Operator) -> str:
    """Return the compiler's words for one operator, without regard to its place in the graph."""
    inputs, outputs = graph.activations(operator.inputs), graph.activations(operator.outputs)
    if operator.name == "QUANTIZE" and any(tensor.type not in _EIGHT_BIT for tensor in inputs):
        return UNSPECIFIED
    # The type comes before the operator: a post-process on floats is "an unsupported data type" in every log.
    if any(tensor.type not in _EIGHT_BIT for tensor in (*inputs, *outputs)):
        return DATA_TYPE
    if operator.name not in LIMITS:
        return NOT_SUPPORTED
    if any(_too_many_dimensions(tensor.shape) for tensor in (*inputs, *outputs)):
        return RANK
    limit = LIMITS[operator.name]
    reason = limit(graph, operator) if limit is not None else None
    return reason or MAPPED


def _too_many_dimensions(shape: tuple[int, ...]) -> bool:
    return any(size > 1 for size in shape[:-3])


def _no_activation(graph: Graph, operator: Operator) -> Optional[str]:
    return UNSPECIFIED if getattr(operator.options, "fusedActivationFunction", 0) else None


def _concatenation(graph: Graph, operator: Operator) -> Optional[str]:
    constants = [tensor for tensor in _inputs(graph, operator) if tensor.constant]
    if constants and (len(operator.inputs) != 2 or any(not _is_zero(tensor) for tensor in constants)):
        return UNSPECIFIED
    return _no_activation(graph, operator)


def _convolution(graph: Graph, operator: Operator) -> Optional[str]:
    options = operator.options
    return UNSPECIFIED if options is not None and options.dilationHFactor != options.dilationWFactor else None


def _fully_connected(graph: Graph, operator: Operator) -> Optional[str]:
    if getattr(operator.options, "weightsFormat", 0):
        return UNSPECIFIED
    return UNSPECIFIED if math.prod(_output(graph, operator).shape[:-1]) > 1 else None


def _reduction(graph: Graph, operator: Operator) -> Optional[str]:
    picture = _inputs(graph, operator)[0].shape
    axes = _axes(graph, operator, len(picture))
    if axes is None or (len(picture) > 1 and 0 in axes):
        return UNSPECIFIED
    # Over the channels a mean needs a multiple of four of them.
    if operator.name == "MEAN" and len(picture) - 1 in axes and len(picture) > 1 and picture[-1] % 4:
        return UNSPECIFIED
    return None


def _not_in_batch(graph: Graph, operator: Operator) -> Optional[str]:
    """PACK and SPLIT along the batch dimension."""
    if operator.name == "SPLIT":
        values = _integers(_inputs(graph, operator)[0])
        rank = len(_inputs(graph, operator)[1].shape)
        axis = None if values is None or len(values) != 1 else int(values[0])
    else:
        axis, rank = int(operator.options.axis), len(_output(graph, operator).shape)
    return UNSPECIFIED if axis is None or axis % rank == 0 else None


def _pad(graph: Graph, operator: Operator) -> Optional[str]:
    paddings = _integers(_inputs(graph, operator)[1])
    if paddings is None:
        return UNSPECIFIED
    rank = len(_inputs(graph, operator)[0].shape)
    batch = paddings.reshape(-1, 2)[0] if rank > 3 else np.zeros(2, np.int64)
    return UNSPECIFIED if batch.any() else None


def _prelu(graph: Graph, operator: Operator) -> Optional[str]:
    alpha = _inputs(graph, operator)[1].shape
    return UNSPECIFIED if any(size > 1 for size in alpha[:-1]) else None


def _resize(graph: Graph, operator: Operator) -> Optional[str]:
    small, large = _inputs(graph, operator)[0].shape, _output(graph, operator).shape
    factor = max((after / before for before, after in zip(small[1:3], large[1:3])), default=1.0)
    return UNSPECIFIED if factor > _MAX_RESIZE else None


def _softmax(graph: Graph, operator: Operator) -> Optional[str]:
    # The table says one dimension; YOLOv8 and YOLOv9 are mapped with a softmax along the last of several.
    return UNSPECIFIED if _output(graph, operator).shape[-1] > _MAX_SOFTMAX else None


def _strided_slice(graph: Graph, operator: Operator) -> Optional[str]:
    strides = _integers(_inputs(graph, operator)[3])
    return STRIDES if strides is None or (strides != 1).any() else None


# Operator → its limit beyond 8-bit activations of three dimensions; None: there is none. TILE is in no table, but it is
# mapped in a public compiled model (DeepLab v3 on Cityscapes).
LIMITS: Mapping[str, Optional[Callable[[Graph, Operator], Optional[str]]]] = {
    "ADD": None,
    "AVERAGE_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "EXPAND_DIMS": None,
    "FULLY_CONNECTED": _fully_connected,
    "L2_NORMALIZATION": None,
    "LOGISTIC": None,
    "MAXIMUM": None,
    "MAX_POOL_2D": _no_activation,
    "MEAN": _reduction,
    "MINIMUM": None,
    "MUL": None,
    "PACK": _not_in_batch,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": None,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RELU": None,
    "RELU6": None,
    "RELU_N1_TO_1": None,
    "RESHAPE": None,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RSQRT": None,
    "SLICE": None,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": None,
    "SPLIT": _not_in_batch,
    "SQUARED_DIFFERENCE": None,
    "SQUEEZE": None,
    "STRIDED_SLICE": _strided_slice,
    "SUB": None,
    "SUM": _reduction,
    "TANH": None,
    "TILE": None,
    "TRANSPOSE": None,
    "TRANSPOSE_CONV": None,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": None,
}


def _inputs(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensors[position] for position in operator.inputs]


def _output(graph: Graph, operator: Operator) -> Tensor:
    return graph.tensors[operator.outputs[0]]


def _integers(tensor: Tensor) -> Optional[np.ndarray]:
    """Return the values of an integer constant, or None where they come at run time."""
    if tensor.content is None:
        return None
    return np.frombuffer(tensor.content, "<i8" if tensor.type == "INT64" else "<i4").astype(np.int64)


def _axes(graph: Graph, operator: Operator, rank: int) -> Optional[set[int]]:
    values = _integers(_inputs(graph, operator)[1])
    return None if values is None else {int(axis) % rank for axis in values}


def _is_zero(tensor: Tensor) -> bool:
    # A quantised zero is the zero point, which the reader does not keep: equal bytes are all that can be seen.
    return tensor.content is not None and len(set(tensor.content)) <= 1

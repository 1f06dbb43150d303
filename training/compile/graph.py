"""Reads a TensorFlow Lite file into what the Edge TPU compiler looks at: operators with versions, tensors, options."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from edge_app.errors import UserError
from training.export.operators import read_tflite

EDGETPU_OPERATOR = "edgetpu-custom-op"


@dataclass(frozen=True)
class Tensor:
    """One tensor.

    Attributes:
        name: as in the file.
        type: such as ``INT8``.
        shape: sizes; a size that is open in the model stands as 1 here.
        open_shape: whether some size is open until run time.
        content: bytes of a constant; None for an activation.
        variable: state that lives from one run to the next.
        quantized: it has a scale.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    open_shape: bool
    content: Optional[bytes]
    variable: bool
    quantized: bool

    @property
    def constant(self) -> bool:
        """Whether its values are known when the model is compiled."""
        return self.content is not None


@dataclass(frozen=True)
class Operator:
    """One operator; inputs that are left out are not listed.

    Attributes:
        name: the builtin operator's name, ``CUSTOM`` for others.
        code: its number.
        custom_name: of a custom operator, else empty.
        version: of the operator.
        inputs, outputs: its tensors' positions.
        options: the schema's options object, or None.
    """

    name: str
    code: int
    custom_name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a model.

    Attributes:
        tensors, operators: in the file's order.
        inputs, outputs: positions of the model's own.
        subgraphs: how many the file has; more than one for control flow.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int

    def activations(self, positions: tuple[int, ...]) -> list[Tensor]:
        """Return those of the tensors that are computed at run time."""
        tensors = [self.tensors[position] for position in positions]
        return [tensor for tensor in tensors if not tensor.constant and not tensor.variable]

    def count_operators(self) -> dict[str, int]:
        """Return operator name → count, in order of first appearance."""
        return dict(Counter(operator.name for operator in self.operators))

    def compiled_parts(self) -> int:
        """Return how many Edge TPU subgraphs the file holds; 0 if it was not compiled."""
        return sum(operator.custom_name == EDGETPU_OPERATOR for operator in self.operators)


def read_graph(path: Path) -> Graph:
    """Read a model file.

    Raises:
        UserError: the file is missing or no TensorFlow Lite model.
    """
    return parse_graph(read_tflite(path), str(path))


def parse_graph(content: bytes, name: str = "model") -> Graph:
    """Read a model's bytes; ``name`` is used in messages.

    Raises:
        UserError: the file is damaged.
    """
    # The runtime's own schema: it loads in a fraction of the time that TensorFlow's takes.
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - only needed here

    try:
        model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
        graph = model.subgraphs[0]
        tensors = tuple(_tensor(schema, tensor, model.buffers) for tensor in graph.tensors or ())
        operators = tuple(_operator(schema, operator, model.operatorCodes) for operator in graph.operators or ())
        # The reader returns numpy arrays, which are empty where the file has nothing.
        inputs, outputs = _positions(graph.inputs), _positions(graph.outputs)
        return Graph(tensors, operators, inputs, outputs, len(model.subgraphs))
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # The generated reader does not check a file: a damaged one fails in many ways.
        raise UserError(f"{name} is a damaged TensorFlow Lite model; export it again") from error


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _tensor(schema: Any, tensor: Any, buffers: Any) -> Tensor:
    data = buffers[tensor.buffer].data if tensor.buffer else None
    content = None if data is None or len(data) == 0 else bytes(bytearray(data))
    quantization = tensor.quantization
    scaled = quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
    signature = () if tensor.shapeSignature is None else _positions(tensor.shapeSignature)
    return Tensor(
        name=(tensor.name or b"").decode("utf-8", "replace"),
        type=_names(schema.TensorType)[tensor.type],
        shape=_positions(tensor.shape),
        open_shape=any(size < 0 for size in signature),
        content=content,
        variable=bool(tensor.isVariable),
        quantized=scaled,
    )


def _operator(schema: Any, operator: Any, codes: Any) -> Operator:
    code = codes[operator.opcodeIndex]
    # Old files have the number in a field of one byte, new ones in both.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _names(schema.BuiltinOperator).get(number, f"OPERATOR_{number}")
    return Operator(
        name=name,
        code=number,
        custom_name=(code.customCode or b"").decode("utf-8", "replace") if name == "CUSTOM" else "",
        version=int(code.version),
        inputs=tuple(position for position in _positions(operator.inputs) if position >= 0),
        outputs=_positions(operator.outputs),
        options=operator.builtinOptions,
    )


def _positions(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)

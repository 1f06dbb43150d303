"""TensorFlow Lite files of a few operators, made field by field, so that each rule can be met alone."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

EDGETPU = "edgetpu-custom-op"


def tensor(name: str, shape: list[int], dtype: str = "INT8", content: Any = None, **fields: Any) -> Any:
    """One tensor; ``content`` (an array) makes it a constant."""
    made = schema.TensorT()
    made.name, made.shape, made.type = name, shape, getattr(schema.TensorType, dtype)
    made.constant = None if content is None else np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
    if dtype in ("INT8", "UINT8"):
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [0.1], [0]
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def shape_tensor(name: str, values: list[int]) -> Any:
    """An int32 constant."""
    return tensor(name, [len(values)], "INT32", np.array(values, np.int32))


def model(
    tensors: list[Any], operators: list[tuple[str, list[int], list[int], dict[str, Any]]], outputs: list[int]
) -> bytes:
    """Build a file.

    Args:
        tensors: of the graph, in order.
        operators: (name, input positions, output positions, {"version": …, "options": (type, object)}); a name that
            is no builtin operator makes a custom one, a number one that the schema may not know.
        outputs: positions of the model's outputs.
    """
    built = schema.ModelT()
    built.version, built.description = 3, "made for a test"
    built.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    for item in tensors:
        item.buffer = 0
        if item.constant is not None:
            buffer = schema.BufferT()
            buffer.data = item.constant
            built.buffers.append(buffer)
            item.buffer = len(built.buffers) - 1
    graph.tensors, graph.operators, built.operatorCodes = tensors, [], []
    for name, inputs, results, more in operators:
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, name, None) if isinstance(name, str) else name
        code.builtinCode = schema.BuiltinOperator.CUSTOM if number is None else number
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.customCode, code.version = (name if number is None else None), more.get("version", 1)
        built.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(built.operatorCodes) - 1, inputs, results
        if "options" in more:
            kind, operator.builtinOptions = more["options"]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        graph.operators.append(operator)
    made = {position for _, _, results, _ in operators for position in results}
    graph.inputs = [
        index
        for index, item in enumerate(tensors)
        if index not in made and item.constant is None and not item.isVariable
    ]
    graph.outputs = outputs
    built.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(built.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def chain(*names: str, dtype: str = "INT8", size: int = 8) -> bytes:
    """A chain of operators that take and give one (1, size, size, 4) activation each."""
    tensors = [tensor(f"t{index}", [1, size, size, 4], dtype) for index in range(len(names) + 1)]
    operators = [(name, [index], [index + 1], {}) for index, name in enumerate(names)]
    return model(tensors, operators, [len(names)])


def compiled(parts: int, output: str, shape: list[int]) -> bytes:
    """What the compiler leaves behind: a chain of Edge TPU operators that ends in ``output``."""
    tensors = [tensor(f"t{index}", [1, 8, 8, 4]) for index in range(max(parts, 1))]
    tensors.append(tensor(output, shape))
    name = EDGETPU if parts else "RELU"
    operators = [(name, [index], [index + 1], {}) for index in range(max(parts, 1))]
    return model(tensors, operators, [len(tensors) - 1])

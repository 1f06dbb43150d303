"""Operator tables of TensorFlow Lite models, beside the published ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edge_app.errors import UserError

# Operator tables that the Edge TPU compiler printed for the tutorial's models (Neuralet, 2020).
PUBLISHED = {
    "published PTQ": {
        "CUSTOM": 1, "ADD": 10, "CONCATENATION": 2, "QUANTIZE": 11, "CONV_2D": 55, "DEPTHWISE_CONV_2D": 33,
        "DEQUANTIZE": 2, "RESHAPE": 13, "LOGISTIC": 1,
    },
    "published QAT": {
        "CUSTOM": 1, "ADD": 10, "CONCATENATION": 2, "CONV_2D": 55, "DEPTHWISE_CONV_2D": 33, "RESHAPE": 13,
        "LOGISTIC": 1,
    },
}  # fmt: skip


def read_operators(path: Path) -> list[str]:
    """Return the operators of a model file in order; custom ones as CUSTOM.

    Raises:
        UserError: the file is missing or no TensorFlow Lite model.
    """
    return [name for name, _ in _walk(read_tflite(path), custom="CUSTOM")]


def read_tflite(path: Path) -> bytes:
    """Return the content of a model file.

    Raises:
        UserError: the file is missing or no TensorFlow Lite model.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"model {path} cannot be read ({error.strerror}); check the path") from error
    if content[4:8] != b"TFL3":
        raise UserError(f"{path} is not a TensorFlow Lite model; give a .tflite file")
    return content


def count_operators(names: list[str]) -> dict[str, int]:
    """Count operators by name, in order of first appearance."""
    return dict(Counter(names))


def float_operators(content: bytes) -> list[str]:
    """Return the operators with a float input or output other than a constant; custom ones by their own name."""
    return [name for name, is_float in _walk(content, custom=None) if is_float]


def format_operators(tables: dict[str, dict[str, int]]) -> str:
    """Return the tables of several models side by side."""
    names = sorted({name for table in tables.values() for name in table})
    width = max(len(name) for name in names) + 2
    columns = [max(len(title), 6) + 2 for title in tables]
    lines = ["operator".ljust(width) + "".join(title.rjust(size) for title, size in zip(tables, columns))]
    for name in names:
        counts = [str(table.get(name, 0)).rjust(size) for table, size in zip(tables.values(), columns)]
        lines.append(name.ljust(width) + "".join(counts))
    return "\n".join(lines)


def _walk(content: bytes, custom: Any) -> list[tuple[str, bool]]:
    """Return (name, touches float activations) of every operator of the first subgraph."""
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 - heavy
    from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415 - heavy

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    graph = model.subgraphs[0]
    rows = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = names.get(builtin, f"OPERATOR_{builtin}")
        if name == "CUSTOM":
            name = custom or code.customCode.decode()
        tensors = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        is_float = any(
            tensor.type == schema.TensorType.FLOAT32 and model.buffers[tensor.buffer].data is None for tensor in tensors
        )
        rows.append((name, is_float))
    return rows

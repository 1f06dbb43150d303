"""Runs a model in one runtime; started in an environment of its own, so it imports nothing of this project.

    python worker.py MODEL INPUTS.npy OUTPUTS.npz

INPUTS is (N, height, width, 3) in the model's input type; OUTPUTS gets one array (N, …) for each output, in the model's
order, and the runtime's name. Python 3.7 or later.
"""

# ruff: noqa: PLC0415 - which runtime is there is found out by importing it

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def load_interpreter(model: str) -> tuple[Any, str]:
    """Return an interpreter of the only runtime that is installed, and the runtime's name and version."""
    try:
        import tflite_runtime as package
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        try:
            import ai_edge_litert as package
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            import tensorflow as package

            Interpreter = package.lite.Interpreter
    version = getattr(package, "__version__", "")
    return Interpreter(model_path=model), f"{package.__name__} {version}".strip()


def main() -> None:
    """Run all inputs."""
    model, inputs, outputs = sys.argv[1:]
    interpreter, name = load_interpreter(model)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    details = interpreter.get_output_details()
    rows: list[list[Any]] = [[] for _ in details]
    for tensor in np.load(inputs):
        interpreter.set_tensor(place, tensor[None])
        interpreter.invoke()
        for row, detail in zip(rows, details):
            row.append(interpreter.get_tensor(detail["index"])[0])
    np.savez(outputs, runtime=np.array(name), **{f"output_{i}": np.array(row) for i, row in enumerate(rows)})


if __name__ == "__main__":
    main()

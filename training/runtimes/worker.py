"""Runs a model in one runtime; started in an environment of its own, so it imports nothing of this project.

    python worker.py MODEL INPUTS.npy OUTPUTS.npz KERNELS TENSOR…

INPUTS is (N, height, width, 3) in the model's input type; OUTPUTS gets one array (N, …) for each output, in the model's
order, for each tensor whose number is given, and the runtime's name. KERNELS is 'reference', or 'fast' for what the
runtime takes by itself. Python 3.7 or later.
"""

# ruff: noqa: PLC0415 - which runtime is there is found out by importing it

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def load_interpreter(model: str, kernels: str) -> tuple[Any, str]:
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
    resolvers = sys.modules[Interpreter.__module__].OpResolverType
    resolver = resolvers.BUILTIN_REF if kernels == "reference" else resolvers.AUTO
    interpreter = Interpreter(model_path=model, experimental_op_resolver_type=resolver, num_threads=2)
    return interpreter, f"{package.__name__} {version}".strip()


def main() -> None:
    """Run all inputs."""
    model, inputs, outputs, kernels = sys.argv[1:5]
    interpreter, name = load_interpreter(model, kernels)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    tensors = {f"output_{i}": detail["index"] for i, detail in enumerate(interpreter.get_output_details())}
    tensors.update({f"raw_{i}": int(number) for i, number in enumerate(sys.argv[5:])})
    rows: dict[str, list[Any]] = {key: [] for key in tensors}
    for tensor in np.load(inputs):
        interpreter.set_tensor(place, tensor[None])
        interpreter.invoke()
        for key, number in tensors.items():
            rows[key].append(interpreter.get_tensor(number)[0])
    np.savez(outputs, runtime=np.array(name), **{key: np.array(row) for key, row in rows.items()})


if __name__ == "__main__":
    main()

"""Which TensorFlow Lite runtime runs a model: LiteRT on the CPU, or the Edge TPU delegate for compiled models."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.accelerator.child_interpreter import AcceleratorLost, ChildInterpreter
from edge_app.errors import UserError
from edge_app.kernels import Kernels, fastest, resolver_of
from edge_app.standard_error import quiet_standard_error

log = logging.getLogger(__name__)

# The custom operator that the Edge TPU compiler puts in place of what it mapped.
EDGETPU_OPERATOR = b"edgetpu-custom-op"
_HEADER_BYTES = 8
_CPU_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def is_compiled_for_edgetpu(content: bytes) -> bool:
    """Tell whether a model went through the Edge TPU compiler."""
    return EDGETPU_OPERATOR in content


def is_for_edgetpu(path: Path) -> bool:
    """Tell whether a file is there and holds a model that went through the Edge TPU compiler."""
    return path.is_file() and is_compiled_for_edgetpu(path.read_bytes())


def make_interpreter(
    path: Path, *, device: str, threads: int, deadline_s: float, kernels: Kernels = "fast"
) -> tuple[Any, str]:
    """Load a model into the best runtime at hand.

    Args:
        path: the ``.tflite`` file.
        device: ``auto`` takes the Edge TPU for compiled models and the CPU for others; ``cpu``, ``edgetpu``, ``usb:N``
            and ``pci:N`` leave no choice.
        threads: CPU threads.
        deadline_s: an inference on the Edge TPU that takes longer has failed.
        kernels: of the CPU; an Edge TPU has its own.

    Returns:
        The interpreter, with its tensors allocated, and the name of its runtime.

    Raises:
        UserError: the file is missing or no TFLite model, there is no runtime, or a compiled model meets no Edge TPU.
    """
    content = _read_model(path)
    if is_compiled_for_edgetpu(content):
        if device == "cpu":
            raise UserError(f"model {path} is compiled for the Edge TPU; give its CPU twin or set model.device to auto")
        return _edgetpu_interpreter(path, device, deadline_s)
    if device not in ("auto", "cpu"):
        raise UserError(f"model {path} is not compiled for the Edge TPU; compile it or set model.device to cpu")
    return _cpu_interpreter(path, content, threads, kernels)


def check_model_file(path: Path) -> None:
    """Refuse what is no TensorFlow Lite model by its first bytes.

    Raises:
        UserError: it is none, or cannot be read.
    """
    _read_model(path, _HEADER_BYTES)


def _read_model(path: Path, most: int = -1) -> bytes:
    """Return the content of a model file, or ``most`` bytes of it."""
    try:
        with path.open("rb") as stream:
            content = stream.read(most)
    except FileNotFoundError as error:
        raise UserError(f"model {path} does not exist; check 'model.path' or --model") from error
    except IsADirectoryError as error:
        raise UserError(f"model {path} is a folder; give a .tflite file in it") from error
    except OSError as error:
        raise UserError(f"model {path} cannot be read ({error.strerror}); check its permissions") from error
    # The end of a FlatBuffer's header names its schema.
    if content[4:_HEADER_BYTES] != b"TFL3":
        raise UserError(f"{path} is not a TensorFlow Lite model; give a .tflite file")
    return content


def _cpu_interpreter(path: Path, content: bytes, threads: int, kernels: Kernels) -> tuple[Any, str]:
    for name in _CPU_RUNTIMES:
        try:
            runtime = importlib.import_module(name)
        except ImportError:
            continue
        label, arguments = _label(name), {"model_content": content, "num_threads": threads}
        interpreter = _allocate(path, runtime.Interpreter, **arguments, **resolver_of(runtime, kernels))
        if kernels == "fast" and fastest(label, interpreter.get_input_details()[0]["dtype"]) == "reference":
            kernels = "reference"
            interpreter = _allocate(path, runtime.Interpreter, **arguments, **resolver_of(runtime, kernels))
        return interpreter, label if kernels == "fast" else f"{label}, reference kernels"
    raise UserError("no TensorFlow Lite runtime is installed; install ai-edge-litert (pip install '.[cpu]')")


def _edgetpu_interpreter(path: Path, device: str, deadline_s: float) -> tuple[Any, str]:
    """Open a compiled model on an Edge TPU, in a child process. Not run on hardware yet: none is at hand."""
    chosen = device if device.startswith(("usb", "pci")) else ""
    try:
        return ChildInterpreter(path, chosen, deadline_s), "Edge TPU, in a process of its own"
    except AcceleratorLost as error:
        raise UserError(f"model {path} is compiled for the Edge TPU but {error}; or give its CPU twin") from error


def _allocate(path: Path, interpreter_class: Any, **arguments: Any) -> Any:
    try:
        with quiet_standard_error():
            interpreter = interpreter_class(**arguments)
            interpreter.allocate_tensors()
    except SystemError as error:
        # What a runtime built for NumPy 1 ends with under NumPy 2, at its first model only.
        raise UserError(
            f"model {path} cannot be loaded: the runtime was built for another NumPy than {np.__version__}; "
            "run 'python -m edge_app doctor', which says what fits"
        ) from error
    except (ValueError, RuntimeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:200] if lines else type(error).__name__
        raise UserError(
            f"model {path} cannot be loaded ({reason}); the file is damaged or needs another runtime"
        ) from error
    return interpreter


def _label(module_name: str) -> str:
    package = module_name.split(".", maxsplit=1)[0]
    version = getattr(importlib.import_module(package), "__version__", "")
    return f"{package} {version}".strip()

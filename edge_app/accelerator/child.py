"""The child process that holds the Edge TPU. Started by ``ChildInterpreter``; not run on hardware yet.

A runtime and a library that do not fit kill their process with a signal, a device that locks up hangs its process for
ever: both may happen to this one, which is then killed and started again, while the pipeline goes on.

It speaks in messages: one byte for the kind, four for the length (little-endian), then the content. Parent to child:
``I`` an input tensor. Child to parent: ``R`` ready (JSON: the tensors), ``O`` all output tensors one after the other,
``E`` an error (text).
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any, BinaryIO

from edge_app.accelerator.library import LIBRARY, Unusable, load_library, load_runtime, misfit, version_of

HEADER = struct.Struct("<cI")


def write_message(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    """Write one message."""
    stream.write(HEADER.pack(kind, len(content)) + content)
    stream.flush()


def open_interpreter(model: str, device: str) -> Any:
    """Open a compiled model on an Edge TPU: ``usb``, ``pci``, with ``:N`` for the N-th, or empty for any.

    Raises:
        Unusable: library, runtime or device is missing, or they do not fit.
    """
    library, runtime = load_library(), load_runtime()
    reason = misfit(version_of(library), runtime.label)
    if reason is not None:
        raise Unusable(reason)
    try:
        delegate = runtime.module.load_delegate(LIBRARY, {"device": device} if device else {})
    except ValueError as error:
        wanted = f"no Edge TPU answers at {device}" if device else "no Edge TPU answers"
        raise Unusable(f"{wanted}; connect it, to a USB 3 port, and end other programs that use it") from error
    interpreter = runtime.module.Interpreter(model_path=model, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    return interpreter


def _tensor(detail: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"]),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": detail["dtype"]().dtype.name,
        "quantization": [float(scale), int(zero_point)],
    }


def main() -> None:
    """Open the model, then answer inputs until the parent goes away."""
    model, device = sys.argv[1:3]
    # Native libraries write to file descriptor 1 as they like; the conversation moves to one of its own.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        interpreter = open_interpreter(model, device)
        serve(interpreter, out)
    except Unusable as error:
        write_message(out, b"E", str(error).encode())
    except (ValueError, RuntimeError) as error:
        write_message(out, b"E", f"the Edge TPU failed ({str(error).splitlines()[0]})".encode())


def serve(interpreter: Any, out: BinaryIO) -> None:
    """Answer inputs with outputs."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    # The first inference uploads the model; a device that can't do one is found out here.
    interpreter.invoke()
    ready = {"inputs": [_tensor(item) for item in inputs], "outputs": [_tensor(item) for item in outputs]}
    write_message(out, b"R", json.dumps(ready).encode())
    import numpy as np  # noqa: PLC0415 - after the runtime, which brings the one it was built with

    detail = inputs[0]
    stream = sys.stdin.buffer
    while True:
        header = stream.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        _, length = HEADER.unpack(header)
        pixels = np.frombuffer(stream.read(length), detail["dtype"]).reshape(detail["shape"])
        interpreter.set_tensor(detail["index"], pixels)
        interpreter.invoke()
        content = b"".join(np.ascontiguousarray(interpreter.get_tensor(item["index"])).tobytes() for item in outputs)
        write_message(out, b"O", content)


if __name__ == "__main__":
    main()

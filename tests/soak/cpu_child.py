"""The accelerator's child process with the CPU in its place, for soak tests; arguments: MODEL DEVICE."""

from __future__ import annotations

import os
import sys

from ai_edge_litert.interpreter import Interpreter

from edge_app.accelerator.child import serve


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
    interpreter.allocate_tensors()
    serve(interpreter, out)


main()

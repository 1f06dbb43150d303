"""Compares ``compile --check``'s first stage with the interpreter of TensorFlow 2.5.3; ``make check-parse-stage``.

    python -m tests.training.compile.parse_stage --work DIR [--record docs/parse_stage.md] [MODEL…]

For every operator a model of that one operator is loaded with the highest version that the table allows, and with the
next one; models are loaded whole. Needs Python 3.8 and the package index.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.training.compile.small_models import model, tensor
from training.compile.check import predict
from training.compile.op_versions import MAX_VERSION
from training.runtimes.environments import RUNTIMES, Unavailable, make_environment

# Loads each model named on standard input and prints its error, or an empty line.
_LOADER = """
import sys, tensorflow as tf
for path in sys.stdin.read().split("\\n"):
    if path:
        try:
            interpreter = tf.lite.Interpreter(model_path=path)
            if path.endswith(".whole.tflite"):
                interpreter.allocate_tensors()
            print("@")
        except (ValueError, RuntimeError) as error:
            print("@" + " ".join(str(error).split()))
"""
_REFUSED = ("Didn't find op for builtin opcode", "Op builtin_code out of range")


def main() -> int:
    """Load all models; returns 1 if the table is wrong anywhere."""
    options = argparse.ArgumentParser(description="Compare the table of operator versions with TensorFlow 2.5.3.")
    options.add_argument("models", nargs="*", type=Path, help="default: all of models/")
    options.add_argument("--work", type=Path, required=True, help="folder for the environment")
    options.add_argument("--record", type=Path, help="write the result into this file")
    chosen = options.parse_args()
    runtime = next(runtime for runtime in RUNTIMES if runtime.name.startswith("TensorFlow 2.5"))
    work = chosen.work.resolve()
    try:
        python = make_environment(runtime, work)
    except Unavailable as error:
        print(f"{runtime.name} can't be had here: {error}", file=sys.stderr)
        return 1
    folder = work / "parse-stage"
    folder.mkdir(exist_ok=True)
    expected = write_models(folder)
    whole = chosen.models or sorted(Path("models").glob("*.tflite"))
    for path in whole:
        (folder / f"{path.stem}.whole.tflite").write_bytes(path.read_bytes())
        expected[folder / f"{path.stem}.whole.tflite"] = not predict(path).report.failed
    errors = load(python, list(expected))
    wrong = {
        path.name: error for path, error in errors.items() if expected[path] == any(text in error for text in _REFUSED)
    }
    text = (
        f"{len(MAX_VERSION)} operators, each with its highest version and the next one, and {len(whole)} models in "
        f"{runtime.name}'s interpreter: {len(expected) - len(wrong)} of {len(expected)} as `compile --check` predicts"
    )
    print(text)
    print(json.dumps(wrong, indent=2))
    if chosen.record is not None:
        names = ", ".join(f"`{path.name}`" for path in whole)
        chosen.record.write_text(
            "# The parse stage of the Edge TPU compiler\n\nWritten by `make check-parse-stage`. The compiler holds an "
            "interpreter "
            f"of about TensorFlow 2.5.\n\n{text}.\n\nModels: {names}.\n"
            + "".join(f"\n- differs: {name}: {error}" for name, error in wrong.items()),
            encoding="utf-8",
        )
    return int(bool(wrong))


def write_models(folder: Path) -> dict[Path, bool]:
    """Write models of one operator; returns file → whether it must be readable."""
    expected = {}
    for name, version in MAX_VERSION.items():
        for step in (0, 1):
            path = folder / f"{name}-{version + step}.tflite"
            tensors = [tensor("in", [1, 4]), tensor("out", [1, 4])]
            path.write_bytes(model(tensors, [(name, [0], [1], {"version": version + step})], [1]))
            expected[path] = step == 0
    path = folder / "GELU-1.tflite"
    path.write_bytes(model([tensor("in", [1, 4]), tensor("out", [1, 4])], [("GELU", [0], [1], {})], [1]))
    expected[path] = False
    return expected


def load(python: Path, paths: list[Path]) -> dict[Path, str]:
    """Return file → error of the interpreter, empty if it loads."""
    found: dict[Path, str] = {}
    remaining = list(paths)
    while remaining:
        done = subprocess.run(
            [str(python), "-c", _LOADER],
            input="\n".join(map(str, remaining)),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line[1:] for line in done.stdout.splitlines() if line.startswith("@")]
        found.update(zip(remaining, lines))
        # An operator without its options may end the process while it is prepared; it was read by then.
        if len(lines) < len(remaining):
            found[remaining[len(lines)]] = f"the process ended with status {done.returncode}"
        remaining = remaining[len(lines) + 1 :]
    return found


if __name__ == "__main__":
    sys.exit(main())

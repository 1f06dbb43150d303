"""Runs ``edgetpu_compiler``, from the PATH or in a container, and checks what it left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from edge_app.errors import UserError
from training.compile.compiled_file import min_runtime_version, outputs_of
from training.compile.graph import read_graph
from training.compile.log import CompilerReport, OperatorRow, parse_compiler_log

PROGRAM = "edgetpu_compiler"
_CONTAINER_PROGRAMS = ("docker", "podman")
_CONTAINER_IN, _CONTAINER_OUT = "/model", "/compiled"
# The compiler's own limit is 180 s for each attempt, and -d makes many.
_GRACE_S = 60.0


@dataclass(frozen=True)
class Compilation:
    """One run of the compiler.

    Attributes:
        report: what it said.
        output: the compiled model; None if there is none.
        min_runtime_version: of the Edge TPU runtime that the compiled model needs; None if unknown.
        text: all that it printed.
    """

    report: CompilerReport
    output: Optional[Path]
    min_runtime_version: Optional[int]
    text: str


def find_compiler(image: Optional[str]) -> list[str]:
    """Return the command that starts the compiler: from the PATH, or in a container of ``image``.

    Raises:
        UserError: neither the compiler nor a container engine is here.
    """
    if image is None:
        found = shutil.which(PROGRAM)
        if found is None:
            raise UserError(
                f"{PROGRAM} is not installed (it exists for x86-64 Linux only); give --image, the image built from "
                "Dockerfile.train, or predict the result with 'compile --check'"
            )
        return [found]
    engine = next((path for path in map(shutil.which, _CONTAINER_PROGRAMS) if path), None)
    if engine is None:
        raise UserError("neither docker nor podman is installed; install one, or leave --image out")
    return [engine]


def run_compiler(
    model: Path, out: Path, options: Sequence[str], *, image: Optional[str] = None, timeout_s: float = 3600.0
) -> Compilation:
    """Compile a model into the folder ``out`` and read the log.

    Args:
        model: a quantised ``.tflite`` file.
        out: folder for the compiled model and its log; made if missing.
        options: further options of the compiler, as it knows them.
        image: container image that has the compiler; None takes it from the PATH.
        timeout_s: how long the compiler may take in all.

    Raises:
        UserError: no compiler, no such model, a folder that cannot be written, or the time is over.
    """
    graph = read_graph(model)
    if graph.compiled_parts():
        raise UserError(f"model {model} is already compiled for the Edge TPU; give the model that it was made from")
    start = find_compiler(image)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {out} cannot be made ({error.strerror}); give another --out-dir") from error
    stem = out / f"{model.stem}_edgetpu"
    output, log_file = stem.with_suffix(".tflite"), stem.with_suffix(".log")
    # What an earlier run left must not pass for this run's result.
    output.unlink(missing_ok=True)
    log_file.unlink(missing_ok=True)
    done = _run(_command(start, model, out, options, image), timeout_s)
    report = _complete(parse_compiler_log(done.stdout + done.stderr), log_file)
    if done.returncode != 0 and not report.failed:
        report = replace(report, failed=True, errors=(f"{PROGRAM} ended with status {done.returncode}", *report.errors))
    if report.failed or report.unfinished:
        return Compilation(report, None, None, done.stdout + done.stderr)
    report = _against_file(report, output, model)
    least = min_runtime_version(output) if output.is_file() else None
    return Compilation(report, output if output.is_file() else None, least, done.stdout + done.stderr)


def _command(start: list[str], model: Path, out: Path, options: Sequence[str], image: Optional[str]) -> list[str]:
    if image is None:
        return [*start, "--show_operations", "--out_dir", str(out), *options, str(model)]
    folder, target = model.resolve().parent, out.resolve()
    for path in (folder, target):
        # A colon would end the path in the engine's own notation.
        if ":" in str(path):
            raise UserError(f"folder {path} has a colon in its name, which a container cannot mount; move the model")
    return [
        *start, "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}",
        "--volume", f"{folder}:{_CONTAINER_IN}:ro", "--volume", f"{target}:{_CONTAINER_OUT}", "--entrypoint", PROGRAM,
        image, "--show_operations", "--out_dir", _CONTAINER_OUT, *options, f"{_CONTAINER_IN}/{model.name}",
    ]  # fmt: skip


def _run(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, text=True, errors="replace",
            timeout=timeout_s + _GRACE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{PROGRAM} did not end within {timeout_s:.0f} s; give a smaller model") from error
    except OSError as error:
        raise UserError(f"{command[0]} cannot be started ({error.strerror}); install it again") from error


def _complete(report: CompilerReport, log_file: Path) -> CompilerReport:
    """Take the operator table from the log file where standard output has none."""
    if report.rows or not log_file.is_file():
        return report
    return replace(report, rows=parse_compiler_log(log_file.read_text(encoding="utf-8", errors="replace")).rows)


def _against_file(report: CompilerReport, output: Path, model: Path) -> CompilerReport:
    """Turn a claimed success into a failure where the compiled file does not bear it out."""

    def failed(line: str) -> CompilerReport:
        return replace(report, failed=True, errors=(line, *report.errors))

    if not output.is_file() or output.stat().st_size == 0:
        return failed(f"{PROGRAM} reported success but wrote no {output.name}")
    if report.subgraphs is None:
        return failed(f"{PROGRAM} did not say how many parts of the model it mapped")
    compiled = read_graph(output)
    if compiled.compiled_parts() != report.subgraphs:
        return failed(
            f"{PROGRAM} reported {report.subgraphs} Edge TPU subgraphs, {output.name} has {compiled.compiled_parts()}"
        )
    if _counted(report.rows) not in (0, report.operations):
        return failed(f"the operator table has {_counted(report.rows)} operators, the model {report.operations}")
    if outputs_of(compiled) != outputs_of(read_graph(model)):
        return failed(f"{output.name} gives other outputs, or in another order, than the model that it was made from")
    return report


def _counted(rows: Sequence[OperatorRow]) -> int:
    return sum(row.count for row in rows)


def compiler_version(text: str) -> str:
    """Return the version from what ``edgetpu_compiler --version`` prints; empty if it says none."""
    match = re.search(r"version (\S+)", text)
    return match.group(1) if match else ""

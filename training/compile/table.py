"""Tables and JSON of a compilation, real or predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from training.compile.check import Prediction
from training.compile.log import CompilerReport, OperatorRow
from training.compile.verdict import Verdict


def format_rows(rows: Sequence[OperatorRow]) -> str:
    """Return the operator table in the compiler's own form, which is the one of the tutorial."""
    lines = [f"{'Operator':<31}{'Count':<11}Status", ""]
    lines += [f"{row.name:<31}{row.count:<11}{row.status}" for row in rows]
    return "\n".join(lines)


def format_bytes(count: int) -> str:
    """Return a size as the compiler prints it."""
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return f"{count:.2f}B"


def format_report(report: CompilerReport) -> str:
    """Return what a compiler log says, for people."""
    facts = [
        ("compiler", report.compiler_version),
        ("input", _with_size(report.input_model, report.input_bytes)),
        ("output", _with_size(report.output_model, report.output_bytes)),
        ("parameters on the chip", _size(report.on_chip_used_bytes)),
        ("left on the chip", _size(report.on_chip_remaining_bytes)),
        ("parameters streamed", _size(report.off_chip_bytes)),
        ("Edge TPU subgraphs", report.subgraphs),
        ("operators", report.operations),
        ("  on the Edge TPU", report.mapped_operations),
        ("  on the CPU", report.cpu_operations),
    ]
    lines = [f"{name:<24}{value}" for name, value in facts if value is not None]
    if report.rows:
        lines += ["", format_rows(report.rows)]
    return "\n".join(lines)


def format_prediction(prediction: Prediction) -> str:
    """Return what the compiler is expected to say, for people."""
    lines = [format_report(prediction.report), ""]
    lines += [f"compiler: {line}" for line in prediction.report.errors]
    lines.append(version_sentence(prediction.versions))
    if not prediction.report.failed:
        tensor, size = prediction.largest_activation
        lines.append(prediction.memory_sentence)
        lines.append(f"largest activation {format_bytes(size)} ({tensor.partition(';')[0]})")
    return "\n".join(lines)


def version_sentence(versions: Mapping[str, tuple[int, int]]) -> str:
    """Say whether the compiler can read every operator's version."""
    newer = {name: pair for name, pair in versions.items() if pair[0] > pair[1]}
    if not newer:
        return "operator versions: all within TensorFlow 2.5's, which the compiler reads"
    names = ", ".join(f"{name} {have} (the compiler reads {most or 'none'})" for name, (have, most) in newer.items())
    return f"operator versions too new for the compiler: {names}"


def as_json(report: CompilerReport, verdict: Verdict) -> dict[str, Any]:
    """Return report and verdict as JSON values."""
    return {**asdict(report), "verdict": asdict(verdict)}


def _size(count: Any) -> Any:
    return None if count is None else format_bytes(count)


def _with_size(name: Any, count: Any) -> Any:
    return name if name is None or count is None else f"{name}, {format_bytes(count)}"

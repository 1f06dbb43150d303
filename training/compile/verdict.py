"""Judges a compilation: what the compiler calls success is not always one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from training.compile.log import CompilerReport

Outcome = Literal["mapped", "on the CPU", "nothing mapped", "failed", "unfinished"]

# What may stay on the CPU in a detector: its post-process works on floats, and two operators make them.
POST_PROCESS_ON_CPU: Mapping[str, int] = {"CUSTOM": 1, "DEQUANTIZE": 2}

# What the compiler says when it fails → what to do about it. The first that fits counts.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        "operator {0} has version {1}, which is newer than the compiler knows; change the layer that it comes from or "
        "convert with an older TensorFlow, and look with 'compile --check'",
    ),
    (
        r"Op builtin_code out of range: (\d+)",
        "operator number {0} is newer than the compiler; replace the layer that it comes from (GELU is one)",
    ),
    (r"Model not quantized", "the model is not quantised; quantise it with 'quantize --method full-integer' or 'qat'"),
    (
        r"dynamic-sized tensors",
        "some tensor has no fixed size; export the model with a batch of one and constant shapes",
    ),
    (
        r"Encountered unresolved custom op: ([\w-]+)",
        "the compiler does not know the custom operator {0}; build the model without it",
    ),
    (r"Compilation timeout", "the compiler ran out of time; give a longer --timeout_sec or a smaller input"),
    (r"large activation", "activations are too large for the Edge TPU; take a smaller input, or try -d"),
    (
        r"uncaught exception|Internal compiler error",
        "the compiler crashed on this model; leave out layers to find which one it is, or try -d",
    ),
    (r"Model could not be parsed|Invalid model", "the compiler cannot read the model; check it with 'compile --check'"),
    (
        r"Model failed in Tflite interpreter",
        "the model does not run in the compiler's own interpreter; check it with 'compile --check'",
    ),
)
_NO_REASON = "the compiler gave no reason; leave out layers to find which one it is, or try -d"


@dataclass(frozen=True)
class Verdict:
    """Whether a compiled model is what was wanted, and if not why and what to do."""

    outcome: Outcome
    ok: bool
    sentence: str


def judge(report: CompilerReport, allowed_on_cpu: Mapping[str, int] = POST_PROCESS_ON_CPU) -> Verdict:
    """Judge a compiler report.

    Args:
        report: of one compilation.
        allowed_on_cpu: operator → how many of it may stay on the CPU.
    """
    if report.failed:
        return Verdict("failed", False, f"compilation failed: {remedy(report.errors)}")
    if report.unfinished:
        tries = f" (so far {len(report.attempts)} attempts)" if report.attempts else ""
        return Verdict("unfinished", False, f"the compiler's log ends before a result{tries}; run it again")
    if report.subgraphs == 0 or report.mapped_operations == 0:
        return Verdict(
            "nothing mapped",
            False,
            f"nothing of the model runs on the Edge TPU (0 of {report.operations} operators), though the compiler "
            "calls it a success; leave --min_runtime_version out, or see what they lack with 'compile --check'",
        )
    return _judge_mapping(report, allowed_on_cpu)


def remedy(errors: tuple[str, ...]) -> str:
    """Return what to do about the compiler's error lines."""
    text = "\n".join(errors)
    for pattern, sentence in _REMEDIES:
        match = re.search(pattern, text)
        if match is not None:
            return sentence.format(*match.groups())
    return _NO_REASON


def _judge_mapping(report: CompilerReport, allowed: Mapping[str, int]) -> Verdict:
    total, mapped, on_cpu = report.operations or 0, report.mapped_operations or 0, report.cpu_operations or 0
    if on_cpu == 0:
        return Verdict("mapped", True, f"all {total} operators run on the Edge TPU")
    if not report.rows:
        return Verdict(
            "on the CPU",
            False,
            f"{on_cpu} of {total} operators stay on the CPU and the log does not say which; run the compiler with -s "
            "or read its log file",
        )
    left = report.left_on_cpu()
    beyond = {name: count for name, count in left.items() if count > allowed.get(name, 0)}
    if beyond:
        names = ", ".join(f"{name} {count}" for name, count in beyond.items())
        return Verdict(
            "on the CPU",
            False,
            f"{on_cpu} of {total} operators stay on the CPU, of which these should not: {names}; change these layers, "
            "or accept them with --allow-on-cpu NAME=COUNT",
        )
    names = ", ".join(f"{name} {count}" for name, count in left.items())
    return Verdict(
        "mapped", True, f"{mapped} of {total} operators run on the Edge TPU; on the CPU as expected: {names}"
    )

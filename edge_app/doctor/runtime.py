"""Python, NumPy and the TensorFlow Lite runtime: installed, and of versions that fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from edge_app.doctor.findings import Finding, ok

PACKAGES = ("tflite-runtime", "ai-edge-litert", "numpy", "opencv-python-headless")
# Every tflite-runtime on the package index was built for NumPy 1, though none says so; so was ai-edge-litert before
# 1.4.
_FIRST_LITERT_FOR_NUMPY_2 = (1, 4)


def installed_versions() -> dict[str, str]:
    """Return package → version of what is installed of ``PACKAGES``; asked without importing, which may crash."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_runtime(versions: Mapping[str, str], python: tuple[int, int]) -> list[Finding]:
    """Check the runtime and the NumPy that it was built for.

    Args:
        versions: package → version.
        python: such as (3, 9).
    """
    words = f"Python {python[0]}.{python[1]}"
    if python < (3, 9):
        return [Finding("runtime", "error", f"{words} is too old", "install Python 3.9 or later")]
    tflite, litert, numpy = (versions.get(name) for name in ("tflite-runtime", "ai-edge-litert", "numpy"))
    if numpy is None:
        return [Finding("runtime", "error", "NumPy is not installed", "pip install 'numpy<2'")]
    if tflite is None and litert is None:
        return [
            Finding(
                "runtime",
                "error",
                f"no TensorFlow Lite runtime is installed ({words})",
                "pip install '.[cpu]', or '.[coral]' on Python 3.9 for an Edge TPU with Google's libedgetpu",
            )
        ]
    findings = []
    needs_numpy_1 = [f"tflite-runtime {tflite}"] if tflite is not None else []
    if litert is not None and numbers(litert) < _FIRST_LITERT_FOR_NUMPY_2:
        needs_numpy_1.append(f"ai-edge-litert {litert}")
    if needs_numpy_1 and numbers(numpy) >= (2,):
        findings.append(
            Finding(
                "runtime",
                "error",
                f"{' and '.join(needs_numpy_1)} cannot be imported with NumPy {numpy}",
                "pip install 'numpy<2'",
            )
        )
    names = [f"{name} {value}" for name, value in (("tflite-runtime", tflite), ("ai-edge-litert", litert)) if value]
    if not findings:
        findings.append(ok("runtime", f"{', '.join(names)} with NumPy {numpy}, {words}"))
    if litert is None:
        findings.append(
            Finding(
                "runtime",
                "note",
                "tflite-runtime is slower on the CPU than ai-edge-litert, on x86-64 more than ten times",
                "without an Edge TPU: pip install '.[cpu]'",
            )
        )
    return findings


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, such as (2, 9, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

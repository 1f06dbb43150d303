"""Which of a runtime's kernels compute a model on the CPU.

The reference kernels give the same numbers, bit for bit, in every runtime and on every processor. The fast kernels of
x86-64 round int8 values that lie half-way between two steps in ways of their own, which grows from layer to layer
(docs/models.md says how far).
"""

from __future__ import annotations

import platform
import re
from typing import Any, Literal

Kernels = Literal["fast", "reference"]

# Up to this version tflite-runtime has no fast int8 kernels for x86-64: what it does instead takes three times as much
# processor time as the reference kernels.
_LAST_WITHOUT_X86 = (2, 9, 1)


def resolver_of(runtime: Any, kernels: Kernels) -> dict[str, Any]:
    """Return what to hand to a runtime's ``Interpreter``; ``runtime`` is its module ``interpreter``."""
    return {"experimental_op_resolver_type": runtime.OpResolverType.BUILTIN_REF} if kernels == "reference" else {}


def fastest(label: str, input_dtype: Any, machine: str = "") -> Kernels:
    """Return the kernels that are really the fast ones.

    Args:
        label: package and version of the runtime.
        input_dtype: NumPy type of the model's input; a quantised model takes int8 or uint8.
        machine: as ``platform.machine()`` names it; default: this one.
    """
    package, _, version = label.partition(" ")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    is_slow = package == "tflite_runtime" and bool(numbers) and numbers <= _LAST_WITHOUT_X86
    is_x86 = (machine or platform.machine()) in ("x86_64", "AMD64")
    is_quantised = getattr(input_dtype, "__name__", str(input_dtype)) in ("int8", "uint8")
    return "reference" if is_slow and is_x86 and is_quantised else "fast"

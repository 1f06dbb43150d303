"""Reads what ``edgetpu_compiler`` prints (versions 14 to 16), and the ``*_edgetpu.log`` file that it writes.

Nothing is judged here; :mod:`training.compile.verdict` does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

MAPPED = "Mapped to Edge TPU"

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TABLE_HEADER = re.compile(r"^Operator\s+Count\s+Status\s*$")
_TABLE_ROW = re.compile(r"^([A-Z][A-Z0-9_]*)\s+(\d+)\s+(\S.*?)\s*$")
# Each try of --search_delegate starts with this line.
_ATTEMPT = re.compile(r"^Try to compile segment with (\d+) ops", re.MULTILINE)
_FAILED = re.compile(
    r"^(Compilation failed|Invalid model:|Internal compiler error|Compilation timeout|Model not quantized"
    r"|Model could not be parsed|ERROR: |libc\+\+abi: )",
    re.MULTILINE,
)


@dataclass(frozen=True)
class OperatorRow:
    """One row of the operator table; an operator has a row for each of its statuses."""

    name: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether these operators run on the Edge TPU."""
        return self.status == MAPPED


@dataclass(frozen=True)
class CompilerReport:
    """What a compiler log says; None where it says nothing.

    Attributes:
        compiler_version: such as ``16.0.384591198``.
        input_model, output_model, operation_log: paths as printed.
        compile_time_ms: of the successful compilation.
        input_bytes, output_bytes: sizes of the two models, rounded as printed.
        on_chip_used_bytes: parameters kept in the Edge TPU's own memory.
        on_chip_remaining_bytes: left of it for further models.
        off_chip_bytes: parameters sent to the Edge TPU at every inference.
        subgraphs: parts of the model that run on the Edge TPU.
        operations: of the whole model.
        mapped_operations, cpu_operations: how many run where.
        rows: the operator table.
        errors: lines that tell of a failure, without the compiler's ``ERROR:``.
        failed: a failure was reported, and no later attempt succeeded.
        unfinished: the log ends before the last attempt came to a result.
        attempts: numbers of operators that ``--search_delegate`` tried.
    """

    compiler_version: Optional[str] = None
    input_model: Optional[str] = None
    output_model: Optional[str] = None
    operation_log: Optional[str] = None
    compile_time_ms: Optional[int] = None
    input_bytes: Optional[int] = None
    output_bytes: Optional[int] = None
    on_chip_used_bytes: Optional[int] = None
    on_chip_remaining_bytes: Optional[int] = None
    off_chip_bytes: Optional[int] = None
    subgraphs: Optional[int] = None
    operations: Optional[int] = None
    mapped_operations: Optional[int] = None
    cpu_operations: Optional[int] = None
    rows: tuple[OperatorRow, ...] = ()
    errors: tuple[str, ...] = ()
    failed: bool = False
    unfinished: bool = False
    attempts: tuple[int, ...] = field(default=())

    def left_on_cpu(self) -> dict[str, int]:
        """Return how many operators of each name the table leaves on the CPU."""
        left: dict[str, int] = {}
        for row in self.rows:
            if not row.mapped:
                left[row.name] = left.get(row.name, 0) + row.count
        return left


def parse_compiler_log(text: str) -> CompilerReport:
    """Read a compiler log: standard output, the log file, or a part of either.

    With ``--search_delegate`` the compiler tries several times; the last attempt counts. Numbers that the log leaves
    out are taken from its table where that has them, so a log file gives counts as well.
    """
    starts = [match.start() for match in _ATTEMPT.finditer(text)]
    last = text[starts[-1] :] if starts else text
    rows = tuple(_rows(last))
    failed = _FAILED.search(last) is not None
    mapped = _number(r"Number of operations that will run on Edge TPU", last)
    on_cpu = _number(r"Number of operations that will run on CPU", last)
    operations = _number(r"Total number of operations", last)
    if mapped is None and rows:
        mapped = sum(row.count for row in rows if row.mapped)
    if on_cpu is None and rows:
        on_cpu = sum(row.count for row in rows if not row.mapped)
    if on_cpu is None and mapped is not None and operations is not None:
        on_cpu = operations - mapped
    if operations is None and mapped is not None and on_cpu is not None:
        operations = mapped + on_cpu
    # A model that is mapped as a whole gets no "will run on" lines.
    if mapped is None and operations is not None:
        mapped, on_cpu = operations, 0
    return CompilerReport(
        compiler_version=_text(r"^Edge TPU Compiler version (\S+)", text),
        input_model=_text(r"^Input(?: model)?: (.+?)\s*$", last) or _text(r"^Invalid model: (.+?)\s*$", last),
        output_model=_text(r"^Output(?: model)?: (.+?)\s*$", last),
        operation_log=_text(r"^Operation log: (.+?)\s*$", last),
        compile_time_ms=_integer(_text(r"^Model compiled successfully in (\d+) ms", last)),
        input_bytes=_size(r"Input size", last),
        output_bytes=_size(r"Output size", last),
        on_chip_used_bytes=_size(r"On-chip memory used for caching model parameters", last),
        on_chip_remaining_bytes=_size(r"On-chip memory (?:remaining|available) for caching model parameters", last),
        off_chip_bytes=_size(r"Off-chip memory used for streaming uncached model parameters", last),
        subgraphs=_number(r"Number of Edge TPU subgraphs", last),
        operations=operations,
        mapped_operations=mapped,
        cpu_operations=on_cpu,
        rows=rows,
        errors=tuple(_errors(last)),
        failed=failed,
        unfinished=not failed and operations is None,
        attempts=tuple(int(match.group(1)) for match in _ATTEMPT.finditer(text)),
    )


def _rows(text: str) -> Iterator[OperatorRow]:
    inside = False
    for line in text.splitlines():
        if _TABLE_HEADER.match(line):
            inside = True
            continue
        row = _TABLE_ROW.match(line) if inside else None
        if row is not None:
            yield OperatorRow(row.group(1), int(row.group(2)), row.group(3))
        elif inside and line.strip():
            return


def _errors(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if _FAILED.match(line) and not re.match(r"^Compilation failed!\s*$", line):
            yield line.removeprefix("ERROR: ").strip()


def _text(pattern: str, text: str) -> Optional[str]:
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1) if match else None


def _integer(text: Optional[str]) -> Optional[int]:
    return None if text is None else int(text)


def _number(label: str, text: str) -> Optional[int]:
    return _integer(_text(rf"^{label}: (\d+)\s*$", text))


def _size(label: str, text: str) -> Optional[int]:
    match = re.search(rf"^{label}: ([\d.]+)(B|KiB|MiB|GiB)\s*$", text, re.MULTILINE)
    return round(float(match.group(1)) * _UNITS[match.group(2)]) if match else None

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.training.compile import logs
from training.compile.log import OperatorRow, parse_compiler_log
from training.compile.verdict import judge

REAL = Path("../shared/edge_tpu/compiler_logs")
MAPPED, TYPE = "Mapped to Edge TPU", "Operation is working on an unsupported data type"
MIB = 1 << 20

# What each real log says: operators, mapped, subgraphs, memory (used, remaining, streamed; MiB), outcome, and a word of
# the sentence. None: the log does not say.
EXPECTED = {
    "01": (294, 289, 2, (6.08, 0.0, 1.70), "on the CPU", "TRANSPOSE 1"),
    "02": (257, 257, None, None, "mapped", "all 257"),
    "03": (262, 262, None, None, "mapped", "all 262"),
    "04": (125, 124, None, None, "mapped", "as expected: CUSTOM 1"),
    "05": (72, 72, None, None, "mapped", "all 72"),
    "06": (750, 719, None, None, "on the CPU", "GATHER 6"),
    "07": (267, 264, 1, (4.21, 3.29, 0.0), "on the CPU", "does not say which"),
    "08": (267, 264, None, None, "mapped", "CUSTOM 1, DEQUANTIZE 2"),
    "09": (368, 15, 1, (18 / 1024, 6.86, 0.0), "on the CPU", "353 of 368"),
    "10": (None, None, None, None, "failed", "QUANTIZE has version 3"),
    "11": (None, None, None, None, "failed", "EXP has version 2"),
    "12": (None, None, None, None, "failed", "TRANSPOSE_CONV has version 4"),
    "13": (None, None, None, None, "failed", "no fixed size"),
    "14": (None, None, None, None, "failed", "custom operator Atan;"),
    "15": (None, None, None, None, "failed", "activations are too large"),
    "16": (None, None, None, None, "failed", "not quantised"),
    "17": (None, None, None, None, "failed", "crashed"),
    "18": (None, None, None, None, "failed", "crashed"),
    "19": (None, None, None, None, "failed", "gave no reason"),
    "20": (None, None, None, None, "unfinished", "3 attempts"),
    "21": (None, None, None, None, "failed", "ran out of time"),
    "22": (69, 0, 0, (0.0, 0.0, 0.0), "nothing mapped", "0 of 69"),
    "23": (294, 1, 1, (0.0, 8.05, 0.0), "on the CPU", "293 of 294"),
}


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/edge_tpu is not here")
@pytest.mark.parametrize("number", EXPECTED)
def test_a_real_log_gives_its_counts_memory_subgraphs_and_verdict(number):
    (path,) = REAL.glob(f"{number}_*.log")
    text = path.read_text()
    report, (operations, mapped, subgraphs, memory, outcome, word) = parse_compiler_log(text), EXPECTED[number]
    assert (report.operations, report.mapped_operations, report.subgraphs) == (operations, mapped, subgraphs)
    assert report.cpu_operations == (None if operations is None else operations - mapped)
    found = (report.on_chip_used_bytes, report.on_chip_remaining_bytes, report.off_chip_bytes)
    if memory is None:
        assert found == (None, None, None)
    else:
        assert found == pytest.approx([size * MIB for size in memory], abs=1)
    verdict = judge(report)
    assert verdict.outcome == outcome
    assert verdict.ok == (outcome == "mapped")
    assert word in verdict.sentence


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/edge_tpu is not here")
def test_every_row_of_every_real_table_is_read_as_it_stands():
    logs_with_table = 0
    for path in REAL.iterdir():
        # Columns by position, independently of the parser's expression.
        lines = path.read_text().splitlines()
        start = next((index for index, line in enumerate(lines) if line.startswith("Operator    ")), None)
        expected = []
        for line in lines[start + 2 :] if start is not None else []:
            if not re.match(r"[A-Z0-9_]{3,} ", line):
                break
            expected.append(OperatorRow(line[:31].strip(), int(line[31:42]), line[42:].strip()))
        assert list(parse_compiler_log(path.read_text()).rows) == expected, path.name
        logs_with_table += bool(expected)
    assert logs_with_table == 8
    assert len(list(REAL.iterdir())) == len(EXPECTED)


def test_a_success_gives_sizes_in_bytes_and_one_row_per_status():
    rows = logs.table(("ADD", 3, MAPPED), ("ADD", 1, TYPE), ("CUSTOM", 1, TYPE))
    report = parse_compiler_log(logs.success(3, 2, rows=rows))
    assert report.compiler_version == "16.0.384591198"
    assert (report.input_model, report.output_model) == ("people.tflite", "people_edgetpu.tflite")
    assert (report.input_bytes, report.output_bytes) == (3.5 * MIB, 4.25 * MIB)
    assert report.on_chip_remaining_bytes == 512 * 1024
    assert report.rows == (OperatorRow("ADD", 3, MAPPED), OperatorRow("ADD", 1, TYPE), OperatorRow("CUSTOM", 1, TYPE))
    assert report.left_on_cpu() == {"ADD": 1, "CUSTOM": 1}
    assert (report.failed, report.unfinished, report.compile_time_ms) == (False, False, 812)


def test_a_model_that_is_mapped_as_a_whole_has_no_line_on_it():
    report = parse_compiler_log(logs.success(12, 0))
    assert (report.mapped_operations, report.cpu_operations) == (12, 0)
    assert judge(report).sentence == "all 12 operators run on the Edge TPU"


def test_the_last_attempt_of_a_search_counts():
    first = logs.failure("Compilation failed: Compilation failed due to large activation tensors in model.")
    second = logs.success(40, 3, rows=logs.table(("ADD", 40, MAPPED), ("CUSTOM", 1, TYPE), ("DEQUANTIZE", 2, TYPE)))
    text = (
        f"{logs.VERSION}Searching for valid delegate with step 1\nTry to compile segment with 43 ops\n{first}"
        f"Try to compile segment with 42 ops\nIntermediate tensors: a,b\n{second}"
    )
    report = parse_compiler_log(text)
    assert report.attempts == (43, 42)
    assert not report.failed
    assert judge(report).ok


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "unfinished"),
        (logs.VERSION + logs.STARTED, "unfinished"),
        (logs.failure(), "failed"),
        (logs.success(0, 7, subgraphs=0), "nothing mapped"),
        (logs.success(5, 1), "on the CPU"),
    ],
)
def test_what_is_no_success_is_judged_so(text, outcome):
    verdict = judge(parse_compiler_log(text))
    assert (verdict.outcome, verdict.ok) == (outcome, False)


def test_what_may_stay_on_the_cpu_is_counted():
    rows = logs.table(("CONV_2D", 9, MAPPED), ("CUSTOM", 1, TYPE), ("DEQUANTIZE", 3, TYPE))
    report = parse_compiler_log(logs.success(9, 4, rows=rows))
    assert "should not: DEQUANTIZE 3" in judge(report).sentence
    assert judge(report, {"CUSTOM": 1, "DEQUANTIZE": 3}).ok

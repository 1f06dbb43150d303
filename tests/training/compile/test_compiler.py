from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_app.manifest import InputSpec, ModelManifest, OutputSpec, load_manifest, manifest_path, sha256_of
from tests.training.compile import logs
from tests.training.compile.small_models import chain, compiled
from tests.training.compile.test_log import EXPECTED, MAPPED, REAL, TYPE
from training.compile.command import compile_model
from training.compile.log import parse_compiler_log

# Stands in for the compiler: prints what it is told to, writes the files that it is told to, notes how it was called.
FAKE = """#!{python}
import json, shutil, sys
from pathlib import Path
plan = json.loads(Path({plan!r}).read_text())
Path({plan!r} + ".called").write_text(json.dumps(sys.argv[1:]))
out = Path(sys.argv[sys.argv.index("--out_dir") + 1])
stem = Path(sys.argv[-1]).stem + "_edgetpu"
if plan["log_file"] is not None:
    (out / (stem + ".log")).write_text(plan["log_file"])
if plan["output"] is not None:
    shutil.copy(plan["output"], out / (stem + ".tflite"))
sys.stdout.write(plan["stdout"])
sys.exit(plan["status"])
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Installs a fake compiler; returns a function that tells it what to do and runs ``training compile``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    plan = tmp_path / "plan.json"
    program = folder / "edgetpu_compiler"
    program.write_text(FAKE.format(python=sys.executable, plan=str(plan)))
    program.chmod(0o755)
    (tmp_path / "people.tflite").write_bytes(chain("RELU", "RELU"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def run(stdout, *arguments, log_file=None, parts=1, output="t2", status=0, write=True):
        made = tmp_path / "made.tflite"
        made.write_bytes(compiled(parts, output, [1, 8, 8, 4]))
        plan.write_text(
            json.dumps(
                {"stdout": stdout, "log_file": log_file, "output": str(made) if write else None, "status": status}
            )
        )
        # In this process: a new one for every log takes a second each.
        return CliRunner().invoke(
            compile_model, [str(tmp_path / "people.tflite"), *map(str, arguments)], standalone_mode=False
        )

    run.folder = tmp_path
    run.called = lambda: json.loads(Path(f"{plan}.called").read_text())
    return run


DETECTOR = logs.table(("CONV_2D", 4, MAPPED), ("CUSTOM", 1, TYPE), ("DEQUANTIZE", 2, TYPE))


def test_a_compiled_detector_is_told_in_the_compilers_own_table_with_its_manifest(fake):
    model = fake.folder / "people.tflite"
    ModelManifest(
        name="people", file=model.name, sha256=sha256_of(model), labels=("person",),
        input=InputSpec(width=8, height=8, dtype="uint8"),
        outputs=OutputSpec(boxes=0, classes=1, scores=2, count=3, max_detections=10, suppressed=False),
    ).write(manifest_path(model))  # fmt: skip
    done = fake(logs.success(4, 3, rows=DETECTOR))
    assert done.return_value == 0, done.stderr
    assert "CUSTOM                         1          Operation is working on an unsupported data type" in done.stdout
    assert "4 of 7 operators run on the Edge TPU; on the CPU as expected: CUSTOM 1, DEQUANTIZE 2" in done.stdout
    manifest = load_manifest(fake.folder / "people_edgetpu.tflite")
    assert manifest is not None
    assert manifest.outputs.scores == 2
    assert not manifest.outputs.suppressed
    assert manifest.compiled is not None
    assert manifest.compiled.cpu_twin == "people.tflite"
    assert manifest.compiled.cpu_operators == {"CUSTOM": 1, "DEQUANTIZE": 2}


def test_options_reach_the_compiler_under_its_own_names(fake):
    fake(logs.success(7, 0), "-m", "13", "-a", "-d", "-k", "30", "-t", "600", "-i", "a,b", "-o", fake.folder / "out")
    called = fake.called()
    assert called[:3] == ["--show_operations", "--out_dir", str(fake.folder / "out")]
    for option, value in (("--min_runtime_version", "13"), ("--delegate_search_step", "30"), ("--timeout_sec", "600"),
                          ("--intermediate_tensors", "a,b")):  # fmt: skip
        assert called[called.index(option) + 1] == value
    assert {"--enable_multiple_subgraphs", "--search_delegate"} <= set(called)
    assert (fake.folder / "out" / "people_edgetpu.tflite").is_file()


@pytest.mark.parametrize(
    ("stdout", "plan", "said"),
    [
        (logs.success(0, 7, subgraphs=0), {"parts": 0}, "nothing of the model runs on the Edge TPU (0 of 7"),
        (logs.success(4, 3, rows=DETECTOR.replace("CUSTOM", "CONCAT")), {}, "should not: CONCAT 1"),
        (logs.success(4, 3, rows=DETECTOR), {"write": False}, "wrote no people_edgetpu.tflite"),
        (logs.success(4, 3, rows=DETECTOR), {"parts": 2}, "reported 1 Edge TPU subgraphs, people_edgetpu.tflite has 2"),
        (logs.success(4, 3, rows=DETECTOR), {"status": 1}, "ended with status 1"),
        (logs.success(4, 3, rows=DETECTOR), {"output": "other"}, "gives other outputs"),
        (logs.success(5, 3, rows=DETECTOR), {}, "the operator table has 7 operators, the model 8"),
        (logs.failure("Compilation failed: Compilation failed due to large activation tensors in model."),
         {"status": 1, "write": False}, "activations are too large"),
        (logs.VERSION + "Segmentation fault\n", {"status": 139, "write": False}, "ended with status 139"),
        ("", {"write": False}, "ends before a result"),
    ],
)  # fmt: skip
def test_what_the_compiler_calls_success_but_is_none_fails(fake, stdout, plan, said):
    done = fake(stdout, **plan)
    assert done.return_value == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fake.folder / "people_edgetpu.json").exists()


def test_the_table_comes_from_the_log_file_where_standard_output_has_none(fake):
    log_file = f"{logs.VERSION}Input: people.tflite\nOutput: people_edgetpu.tflite\n\n{DETECTOR}"
    done = fake(logs.success(4, 3), "--json", log_file=log_file)
    assert done.return_value == 0, done.stderr
    content = json.loads(done.stdout)
    assert [row["name"] for row in content["rows"]] == ["CONV_2D", "CUSTOM", "DEQUANTIZE"]
    assert content["verdict"]["outcome"] == "mapped"


def test_the_result_of_an_earlier_run_does_not_pass_for_this_one(fake):
    assert fake(logs.success(4, 3, rows=DETECTOR)).return_value == 0
    done = fake(logs.success(4, 3, rows=DETECTOR), write=False)
    assert done.return_value == 1
    assert not (fake.folder / "people_edgetpu.tflite").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/edge_tpu is not here")
@pytest.mark.parametrize("number", EXPECTED)
def test_the_wrapper_reads_each_real_log_that_a_compiler_replays(fake, number):
    (path,) = REAL.glob(f"{number}_*.log")
    text = path.read_text().partition("\n")[2]  # without the line that says where it is from
    report = parse_compiler_log(text)
    _, _, subgraphs, _, outcome, word = EXPECTED[number]
    plan = {"status": int(report.failed), "write": not (report.failed or report.unfinished)}
    if "_logfile_" in path.name:
        # The compiler's file: standard output, which is not kept, says the counts and no table.
        plan["log_file"] = text
        text = logs.success(report.mapped_operations, report.cpu_operations)
        subgraphs = 1
    done = fake(text, "--json", parts=subgraphs or 0, **plan)
    content = json.loads(done.stdout)
    if number == "06":  # the end of a log: without the line on subgraphs the wrapper trusts nothing
        assert "did not say how many parts" in str(content["errors"])
        outcome, word = "failed", ""
    assert content["verdict"]["outcome"] == outcome
    assert word in content["verdict"]["sentence"]
    assert done.return_value == (0 if outcome == "mapped" else 1)
    assert [(row["name"], row["count"], row["status"]) for row in content["rows"]] == [
        (row.name, row.count, row.status) for row in report.rows
    ]


def test_a_container_gets_the_folders_and_no_network(fake):
    engine = fake.folder / "bin" / "docker"
    engine.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {fake.folder}/engine\n")
    engine.chmod(0o755)
    fake("", "--image", "trainer:1", "-t", "60")
    called = (fake.folder / "engine").read_text().split("\n")
    assert called[:4] == ["run", "--rm", "--network", "none"]
    assert f"{fake.folder}:/model:ro" in called
    assert called[called.index("trainer:1") + 1 :][-3:-1] == ["60", "/model/people.tflite"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "edgetpu_compiler is not installed"),
        (["--image", "x"], "neither docker nor podman is installed"),
        (["--card"], "--card goes with --check"),
        (["--delegate_search_step", "3"], "goes with --search_delegate"),
        (["--check", "--allow-on-cpu", "CUSTOM"], "is not NAME=COUNT"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, arguments, said):
    model = tmp_path / "people.tflite"
    model.write_bytes(chain("RELU"))
    done = subprocess.run(
        [sys.executable, "-m", "training", "compile", str(model), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr

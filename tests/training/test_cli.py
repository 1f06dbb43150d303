from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edge_app.config import DEFAULT_MODEL

LABELS = object()


def training(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quantize", "--out", "x.tflite"], "full-integer needs --representative"),
        (["quantize", "--out", "x.tflite", "--method", "float16", "--input-type", "uint8"], "leave --input-type out"),
        (["quantize", "--out", "x.onnx", "--representative", "tests"], "does not end in .tflite"),
        (["quantize", "--out", "x.tflite", "--representative", "tests/edge_app"], "holds 0 pictures"),
        (["evaluate", "--model", "none.tflite", "--data", "none.json"], "none.json do not exist"),
        (["operators", "none.tflite"], "none.tflite cannot be read"),
        (["post-process", "none.tflite", "--out", "x.tflite"], "model none.tflite is no .tflite file"),
        (["post-process", LABELS, "--out", "x.tflite"], "labels.json is no .tflite file"),
        (["post-process", DEFAULT_MODEL, "--out", "x.json"], "x.json does not end in .tflite"),
        (["post-process", DEFAULT_MODEL, "--out", "/proc/x.tflite"], "x.tflite cannot be written"),
        (["evaluate", "--model", "none.tflite", "--data", LABELS], "none.tflite does not exist"),
        (["evaluate", "--model", "none.keras", "--data", LABELS], "none.keras is not a Keras model"),
        (["evaluate", "--model", "none.pb", "--data", LABELS], "none.pb does not exist"),
        (["quantize", "--weights", "README.md", "--method", "float16", "--out", "x.tflite"], "README.md are neither"),
        (["operators", "README.md"], "README.md is not a TensorFlow Lite model"),
        (["quantise"], "No such command"),
        (["evaluate-scene", "--gt", "none.txt", "--tracks", "none.txt"], "none.txt"),
    ],
)
def test_wrong_use_and_bad_input_are_one_sentence(arguments, said, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text(
        json.dumps(
            {"images": [{"id": 1, "file_name": "x.png", "width": 9, "height": 9}],
             "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
             "categories": [{"id": 1, "name": "person"}]}
        )
    )  # fmt: skip
    done = training(*[labels if argument is LABELS else argument for argument in arguments])
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_the_operator_table_is_printed_beside_the_published_ones():
    done = training("operators", DEFAULT_MODEL)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("DEPTHWISE_CONV_2D"))
    assert row.split()[1:] == ["33", "33", "33"]


def test_quantize_writes_a_model_with_its_manifest(frozen_graph, street_pictures, tmp_path):
    out = tmp_path / "model.tflite"
    done = training("quantize", "--weights", frozen_graph, "--method", "dynamic-range", "--out", out)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "model.json").read_text())
    assert manifest["quantization"]["method"] == "dynamic-range"
    assert manifest["input"]["dtype"] == "float32"
    assert "CONV_2D" in done.stdout

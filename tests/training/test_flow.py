"""The whole flow by its commands, from pictures to integer models: small, slow to start, never trained well."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from tests.training.test_train import examples_set
from training.cli import cli
from training.export.operators import PUBLISHED, count_operators, read_operators


def run(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.mark.slow
def test_from_pictures_to_integer_models(tmp_path, frozen_graph):
    site = examples_set(tmp_path / "set", pictures=12)
    held_out = examples_set(tmp_path / "other", pictures=4)
    run("prepare", site, "--out", tmp_path / "records", "--validation", 0)

    common = {"train": [{"input_path": str(tmp_path / "records" / "train-*.tfrecord")}], "image_size": 160,
              "batch_size": 2, "num_steps": 3, "save_every_steps": 3}  # fmt: skip
    start = {"fine_tune_checkpoint": str(frozen_graph.resolve()), "finest_stride": 8,
             "anchor_generator": {"fit_per_map": [3, 3, 2, 2, 2, 2]}}  # fmt: skip
    (tmp_path / "float.yaml").write_text(yaml.safe_dump({**common, **start}))
    run("train", "--config", tmp_path / "float.yaml", "--out", tmp_path / "float")
    parent = tmp_path / "float" / "model.keras"

    aware = {"fine_tune_checkpoint": str(parent), "quantization": {"calibration_batches": 2},
             "finest_stride": 8, "distillation_weight": 1.0}  # fmt: skip
    (tmp_path / "qat.yaml").write_text(yaml.safe_dump({**common, **aware}))
    run("train", "--config", tmp_path / "qat.yaml", "--out", tmp_path / "qat")

    models = {name: tmp_path / f"{name}.tflite" for name in ("ptq", "qat_int8", "float16", "dynamic")}
    integer = ("--strict", "--weights", parent, "--representative", site, "--pictures", 10)
    run("quantize", *integer, "--out", models["ptq"])
    trained = tmp_path / "qat" / "model.keras"
    run("quantize", "--strict", "--method", "qat", "--weights", trained, "--out", models["qat_int8"])
    run("quantize", "--method", "float16", "--weights", parent, "--out", models["float16"])
    run("quantize", "--method", "dynamic-range", "--weights", parent, "--out", models["dynamic"])
    for name in ("ptq", "qat_int8"):
        table = count_operators(read_operators(models[name]))
        assert table == {**PUBLISHED["published QAT"], "QUANTIZE": 1, "DEQUANTIZE": 2}
    assert "CONV_2D" in run("operators", *models.values())

    manifest = json.loads(models["qat_int8"].with_suffix(".json").read_text())
    assert manifest["quantization"]["method"] == "qat"
    assert any("12 pictures, 24 people" in line for line in manifest["training_data"])

    out = tmp_path / "parity"
    named = ",".join(str(path) for path in (parent, *models.values()))
    said = run("parity", "--models", named, "--data", site, "--data", held_out, "--out", out, "--rounds", 2)
    report = json.loads((out / "parity.json").read_text())
    assert report["reference"] == "model"
    assert set(report["results"]) == {"set", "other"}
    for rows in report["results"].values():
        assert rows["model"]["difference"] is None
        low, high = rows["ptq"]["interval"]
        assert low <= rows["ptq"]["difference"] <= high
    assert "Accuracy on set: 12 pictures, 24 people" in said
    page = (out / "parity.html").read_text()
    assert page.count("<img") == len(list((out / "pictures").glob("*.jpg"))) > 0
    assert "http" not in page

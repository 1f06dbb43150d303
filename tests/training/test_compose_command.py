"""A composed validation set: the same for the same seed, and readable like any other set."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tests.training.test_train import examples_set
from training.cli import cli
from training.evaluation.labelled_pictures import load_labelled_pictures


def composed(source, out, seed=0):
    done = CliRunner().invoke(cli, ["compose", str(source), "--out", str(out), "--pictures", "6", "--seed", str(seed)])
    assert done.exit_code == 0, done.output
    return json.loads((out / "labels.json").read_text())


def test_the_same_seed_composes_the_same_pictures(tmp_path):
    source = examples_set(tmp_path / "set", pictures=4)
    one, same = composed(source, tmp_path / "one"), composed(source, tmp_path / "same")
    assert one["annotations"] == same["annotations"] != composed(source, tmp_path / "other", seed=1)["annotations"]
    for record in one["images"]:
        first, second = ((tmp_path / name / record["file_name"]).read_bytes() for name in ("one", "same"))
        assert first == second


def test_people_are_smaller_than_in_their_pictures(tmp_path):
    source = examples_set(tmp_path / "set", pictures=4)
    coco = composed(source, tmp_path / "one")
    heights = [entry["bbox"][3] / 640 for entry in coco["annotations"] if not entry["iscrowd"]]
    assert heights
    original = json.loads((source / "labels.json").read_text())
    rows = {record["id"]: record["height"] for record in original["images"]}
    before = [entry["bbox"][3] / rows[entry["image_id"]] for entry in original["annotations"]]
    assert sorted(heights)[len(heights) // 2] < 0.6 * max(before)


def test_a_composed_set_is_read_like_any_other(tmp_path):
    source = examples_set(tmp_path / "set", pictures=4)
    composed(source, tmp_path / "one")
    data = load_labelled_pictures(tmp_path / "one")
    assert len(list(data.pictures())) == 6

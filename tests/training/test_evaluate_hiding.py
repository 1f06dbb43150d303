"""How much of annotated people the live picture hides."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from edge_app.errors import UserError
from edge_app.manifest import InputSpec
from edge_app.records import Detections
from training.cli import cli

# Annotated: one who is found, and from frame 11 on one who is not.
FOUND, MISSED = (100, 60, 160, 200), (200, 60, 260, 200)


class FindsOne:
    name, input = "stand-in", InputSpec(width=2, height=2, dtype="uint8")

    def preprocess(self, image):
        return None, None

    def invoke(self, tensor):
        return None

    def decode(self, outputs, geometry):
        return Detections(np.array([FOUND], np.float32), np.array([0.9], np.float32))


@pytest.fixture
def scene(tmp_path, monkeypatch):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 240))
    for _ in range(20):
        writer.write(np.full((240, 320, 3), 90, np.uint8))
    writer.release()
    rows = [(frame, 1, FOUND) for frame in range(1, 21)] + [(frame, 2, MISSED) for frame in range(11, 21)]
    lines = [f"{frame},{who},{b[0] + 1},{b[1] + 1},{b[2] - b[0]},{b[3] - b[1]},1,0,0,0" for frame, who, b in rows]
    (tmp_path / "gt.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"motion_gate": {"enabled": False}}), encoding="utf-8")
    monkeypatch.setattr("edge_app.pipeline.open_watched", lambda *_: FindsOne())
    return tmp_path


def evaluate(folder, *more):
    arguments = [str(folder / "clip.avi"), "--gt", str(folder / "gt.txt"), "--config", str(folder / "config.yaml")]
    return CliRunner().invoke(cli, ["evaluate-hiding", *arguments, *more], catch_exceptions=False)


def test_whoever_is_found_is_covered_and_whoever_is_not_is_counted_with_their_frames(scene):
    result = json.loads(evaluate(scene, "--json").stdout)
    assert (result["annotated"], result["shown"]) == (30, 10)
    assert result["shown_frames"] == list(range(11, 21))
    assert result["covered_least"] == 0.0
    # The box and its margin of a tenth on each side.
    assert result["picture_hidden_mean"] == pytest.approx(72 * 168 / (320 * 240), abs=1e-6)
    said = evaluate(scene).stdout
    assert "10 of 30 annotated people are covered by less than half, in frames 11, 12, 13" in said


def test_a_number_of_tiles_is_refused_where_there_are_no_tiles(scene):
    with pytest.raises(UserError, match=r"^--tiles-a-frame is of no use here.*set tiles\.mode$"):
        evaluate(scene, "--tiles-a-frame", "2")
    (scene / "config.yaml").write_text("motion_gate: {enabled: false}\ntiles: {mode: 'on'}\n", encoding="utf-8")
    result = json.loads(evaluate(scene, "--tiles-a-frame", "0", "--json").stdout)
    assert (result["annotated"], result["shown"], result["shown_frames"]) == (30, 10, list(range(11, 21)))


def test_a_video_that_is_not_there_is_one_sentence(scene):
    (scene / "clip.avi").unlink()
    with pytest.raises(UserError, match=r"clip\.avi does not exist"):
        evaluate(scene)

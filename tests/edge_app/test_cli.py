from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_app.cli import cli
from edge_app.config import SAMPLE

CLIP = str(SAMPLE / "pets_s2l1_excerpt.mp4")


def edge_app(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edge_app", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_one_sentence(done, said):
    errors = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert said in errors[0]
    assert done.stdout == ""


def test_frames_too_far_apart_for_events_are_said(tmp_path):
    done = edge_app("analyze", CLIP, "--config", "config/demo.yaml", "--every", "40", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "no event survives more than events.max_gap_s (2 s)" in done.stderr
    done = edge_app("analyze", CLIP, "--config", "config/demo.yaml", "--every", "10", "--out", tmp_path / "more")
    assert "max_gap_s" not in done.stderr


def test_one_event_is_told_as_one_and_a_sum_over_pairs_as_such(tmp_path, monkeypatch):
    violations = {"events": 1, "threshold_m": 2.0, "people_involved": 1, "exposure_s": 24.66}
    summary = {
        "frames_analysed": 1, "duration_s": 1.0, "camera_moved_s": 0.0, "violations": violations,
        "people": {"seen": 1, "at_most_at_once": 1}, "timings": {"elapsed_s": 1.0, "frames_per_s": 1.0},
    }  # fmt: skip
    monkeypatch.setattr("edge_app.analysis.analyze", lambda options: summary)
    result = CliRunner().invoke(cli, ["analyze", CLIP, "--out", str(tmp_path / "out")])
    assert result.output.splitlines()[:3] == [
        "1 frame (1.0 s) in 1.0 s, 1 frames a second",
        "1 person seen, at most 1 at once",
        "1 violation event under 2 m, 1 person involved, 24.7 s summed over all pairs",
    ]
    assert "warning" not in result.output


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"not a video " * 300), "is not a video"),
        (lambda p: p.write_bytes(Path(CLIP).read_bytes()[:5000]), "can be decoded"),
    ],
)
def test_a_bad_video_is_one_sentence_and_leaves_nothing(tmp_path, make, said):
    video = tmp_path / "video.mp4"
    make(video)
    done = edge_app("analyze", video, "--out", tmp_path / "out")
    assert_one_sentence(done, said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("calibration: nowhere.yaml", "nowhere.yaml does not exist"),
        ("calibratoin: x.yaml", "did you mean 'calibration'?"),
        ("model: {path: nothing.tflite}", "nothing.tflite does not exist"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_leaves_nothing(tmp_path, text, said):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    assert_one_sentence(edge_app("analyze", CLIP, "--config", config, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()
    assert_one_sentence(edge_app("config", "check", config), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dashboard: {host: 0.0.0.0, port: 0}", "will not listen on 0.0.0.0 without encryption"),
        ("dashboard: {certificate: no.pem, certificate_key: no.pem}", "give PEM files that belong together"),
        ("mqtt: {host: broker.invalid, tls: true, ca_file: no.pem}", "a certificate of 'mqtt' cannot be used"),
    ],
)
def test_check_refuses_what_run_refuses_with_the_same_sentence_and_leaves_nothing(tmp_path, text, said):
    config = tmp_path / "config.yaml"
    config.write_text(f"source: {{uri: {CLIP}}}\nstorage: {{folder: state}}\n{text}\n")
    checked, run = edge_app("config", "check", config), edge_app("run", "--config", config)
    assert_one_sentence(checked, said)
    assert_one_sentence(run, said)
    assert run.stderr == checked.stderr
    assert not (tmp_path / "state").exists()


def test_a_start_whose_port_is_in_use_leaves_no_state_folder(tmp_path):
    config = tmp_path / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(f"source: {{uri: {CLIP}}}\nstorage: {{folder: state}}\ndashboard: {{port: {port}}}\n")
        assert_one_sentence(edge_app("run", "--config", config), f"cannot listen on 127.0.0.1 port {port}")
    assert not (tmp_path / "state").exists()


def test_an_output_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_sentence(edge_app("analyze", CLIP, "--out", tmp_path / "file" / "out"), "cannot be written")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyse"], "No such command 'analyse'"),
        (["analyze", CLIP], "Missing option '--out'"),
        (["analyze", CLIP, "--out", "x", "--evry", "2"], "--evry"),
        (["analyze", CLIP, "--out", "x", "--every", "0"], "--every"),
        (["run", "--port", "99999"], "--port"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, said):
    assert_one_sentence(edge_app(*arguments), said)


def test_a_shipped_configuration_checks_out_with_all_that_it_names():
    done = edge_app("config", "check", "config/demo.yaml")
    assert done.returncode == 0
    assert "calibration: pets_view001.yaml, for 768x576 pictures" in done.stdout
    assert done.stdout.endswith("config/demo.yaml: valid\n")


def test_the_schema_is_json():
    assert "properties" in json.loads(edge_app("config", "schema").stdout)


def test_the_device_side_imports_neither_tensorflow_nor_pandas_nor_the_training_side():
    code = (
        "import sys, pkgutil, importlib, edge_app\n"
        "for module in pkgutil.walk_packages(edge_app.__path__, 'edge_app.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print([name for name in ('tensorflow', 'keras', 'pandas', 'matplotlib', 'training') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_app.config import Config, config_schema, load_config
from edge_app.errors import UserError


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "path",
    sorted(path for path in Path("config").glob("*.yaml") if not path.name.startswith("train")),
    ids=lambda path: path.name,
)
def test_shipped_configurations_are_valid_and_name_files_that_exist(path):
    config = load_config(path)
    assert config.model.path.is_file()
    assert config.calibration is not None
    assert config.calibration.is_file()


def test_no_file_and_an_empty_file_give_the_defaults(tmp_path):
    assert load_config(None) == Config()
    assert load_config(written(tmp_path, "# nothing yet\n")).distance.threshold_m == 2.0


def test_paths_start_from_the_configuration_file(tmp_path):
    (tmp_path / "clip.avi").touch()
    config = load_config(written(tmp_path, "source: {uri: clip.avi}\ncalibration: camera.yaml\n"))
    assert config.calibration == tmp_path / "camera.yaml"
    assert config.source.uri == str(tmp_path / "clip.avi")


def test_the_folder_of_history_is_told_without_dots(tmp_path):
    config = load_config(written(tmp_path, "storage: {folder: ../there/state}\ndashboard: {folder: ./here}\n"))
    assert config.storage.path.parent == tmp_path.parent / "there" / "state"
    assert config.dashboard.folder == tmp_path / "here"


def test_make_demo_works_on_a_copy_that_means_the_same_files_and_keeps_what_is_changed(tmp_path):
    root = Path(__file__).parents[2]
    shutil.copy(root / "Makefile", tmp_path)
    shutil.copytree(root / "config", tmp_path / "config")
    shutil.copytree(root / "edge_app" / "sample", tmp_path / "edge_app" / "sample")
    copy, original = tmp_path / "out" / "demo" / "demo.yaml", tmp_path / "config" / "demo.yaml"

    def make():
        subprocess.run(["make", "out/demo/demo.yaml"], cwd=tmp_path, check=True, capture_output=True)
        return load_config(copy)

    def places(config):
        named = (config.source.uri, config.calibration, config.storage.path)
        return [Path(path).resolve() for path in named]

    assert places(make()) == places(load_config(original))
    assert Path(load_config(copy).source.uri).is_file()
    assert load_config(copy).calibration.is_file()
    copy.write_text(copy.read_text().replace("threshold_m: 2.0", "threshold_m: 1.5"))
    assert make().distance.threshold_m == 1.5
    os.utime(original, (copy.stat().st_mtime + 10,) * 2)
    assert make().distance.threshold_m == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sorce: {}", r"unknown key 'sorce' \(did you mean 'source'\?\)"),
        ("model: {treshold: 1}", r"unknown key 'model.treshold' \((did you mean|known keys)"),
        ("model: {score_treshold: 1}", r"did you mean 'score_threshold'"),
        ("distance: {threshold_m: -1}", r"'distance.threshold_m': input should be greater than 0, not -1"),
        ("distance: {threshold_m: .nan}", r"'distance.threshold_m'.*finite"),
        ("model: {low_score_threshold: 0.9}", r"low_score_threshold must not be above"),
        ("privacy: {people: naked}", r"'privacy.people'.*'pixelate', 'blur', 'schematic' or 'show'"),
        (
            "model: {threads: 0}\ndistance: {threshold_m: 0}\nprivacy: {people: naked}\nevents: {max_gap_s: -1}\nx: 1",
            r"'model.threads'.*'distance.threshold_m'.*; and 2 more",
        ),
        ("mqtt: {host: ''}", r"'mqtt.host' is an empty text; give a value, or leave the key out"),
        ("mqtt: {host: h, username: ' '}", r"'mqtt.username' is an empty text"),
        ("mqtt: {host: h, device: ''}", r"'mqtt.device' is an empty text"),
        ("dashboard: {host: ''}", r"'dashboard.host' is an empty text"),
        ("alerts: {receivers: {webhooks: [{url: ''}]}}", r"'alerts.receivers.webhooks.0.url' is an empty text"),
        ("mqtt: {host: broker..org}", r"'mqtt.host': must be a host name or an address alone.*, not 'broker..org'"),
        ("mqtt: {host: 'mqtt://broker'}", r"'mqtt.host': must be a host name or an address alone"),
        (
            "alerts: {rules: [{name: crowd, kind: occupancy, above: 3, cameras: [nope]}]}",
            r"alerts rule 'crowd' names the camera 'nope', which is not configured \(known cameras: camera\)",
        ),
        (
            "cameras: {door: {source: {uri: '0'}}, yard: {source: {uri: '1'}}}\n"
            "alerts: {rules: [{name: any, kind: fault, cameras: [yard, camera]}]}",
            r"alerts rule 'any' names the camera 'camera', which is not configured \(known cameras: door, yard\)",
        ),
        ("[1, 2]", "a mapping of sections, not a list; see 'config schema'"),
        ("camera_file: 1\ntype: pinhole", "is a camera file; name it under 'calibration' in a configuration"),
        ("a: &a [*a]", r"not valid YAML \(it is nested too deep, or in itself\)"),
        ("source: {size: [0, 480]}", r"'source.size.0': input should be greater than 0"),
        ("train: [{labels: a}]\nbatch_size: 8", "configures training; give it to 'python -m training train --config'"),
        ("mqtt: {host: a, port: 1, host: b}", r"line 1, column 26 \(the key 'host' is there already, at line 1\)"),
        ("model: {}\ntiles: {}\n'model': {}", r"line 3, column 1 \(the key 'model' is there already, at line 1\)"),
        ("model: [", r"not valid YAML at line 1"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        load_config(written(tmp_path, text))
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_merge_keys_may_bring_a_key_that_is_written_too(tmp_path):
    text = (
        "cameras:\n  a: {source: &usual {uri: '0', max_fps: 5}}\n  b: {source: &other {<<: *usual, uri: '1'}}\n"
        "  c: {source: {<<: *other, uri: '2'}}\n  d: {source: *other}\n"
    )
    cameras = load_config(written(tmp_path, text)).cameras
    assert [(camera.source.uri, camera.source.max_fps) for camera in cameras.values()] == [
        ("0", 5), ("1", 5), ("2", 5), ("1", 5),
    ]  # fmt: skip


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")


def test_python_objects_in_yaml_are_not_made(tmp_path):
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(written(tmp_path, "source: !!python/object/apply:os.getcwd []\n"))


def test_the_schema_describes_every_section():
    properties = json.loads(json.dumps(config_schema()))["properties"]
    assert set(properties) == set(Config.model_fields)

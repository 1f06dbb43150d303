from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner

from edge_app.config import DEFAULT_MODEL
from edge_app.errors import UserError
from edge_app.manifest import CompiledSpec, load_manifest, manifest_path, sha256_of
from edge_app.model_store.signing import parse_public_key
from tests.training.compile.small_models import compiled
from training.bundle.command import bundle, bundle_key


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "release.key"
    assert run(bundle_key, "--out", path, "--comment", "us").exception is None
    return path


def test_a_key_is_for_its_owner_only_and_is_never_overwritten(key):
    assert key.stat().st_mode & 0o777 == 0o600
    public = key.with_name("release.key.pub")
    assert parse_public_key(public.read_text(), "key").comment == "us"
    assert "exists already" in str(run(bundle_key, "--out", key).exception)


def test_the_same_content_makes_the_same_bundle(key, tmp_path):
    arguments = ["--model", DEFAULT_MODEL, "--key", key, "--released", 7, "--golden-frames", 1]
    first, second = tmp_path / "1", tmp_path / "2"
    for out in (first, second):
        done = run(bundle, *arguments, "--out", out, "--json")
        assert done.exception is None
    assert first.read_bytes() == second.read_bytes()
    index = json.loads(done.stdout)
    assert index["compiled"] is None
    assert set(index["files"]) >= {DEFAULT_MODEL.name, "labels.txt", "golden.json", "LICENSE.txt"}
    with zipfile.ZipFile(first) as archive:
        assert b"PETS 2009" in archive.read("LICENSE.txt")
        golden = json.loads(archive.read("golden.json"))
    assert len(golden["frames"][0]["people"]) >= 2
    assert golden["reference"] == {"iou": 0.99, "score": 1 / 128}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--model": "none.tflite"}, "is missing; export it with 'quantize'"),
        ({"--key": "none.key"}, "make one with 'training bundle-key"),
        ({"--key": "README.md"}, "chmod 600"),
        ({"--golden": "README.md"}, "say with --golden-source"),
        ({"--parity": "README.md"}, "is not the JSON file of 'training parity'"),
        ({"--compiled": "none.tflite"}, "is missing"),
    ],
)
def test_what_is_missing_is_one_sentence(key, tmp_path, change, said):
    arguments = {"--model": DEFAULT_MODEL, "--key": key, "--out": tmp_path / "x", "--golden-frames": 1, **change}
    done = run(bundle, *[part for pair in arguments.items() for part in pair])
    assert said in str(done.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("file", "name", "said"),
    [
        ("my people.tflite", "people", "no model file named 'my people.tflite'"),
        ("people.tflite", "my people", "no model named 'my people'"),
        ("people.tflite", "people\n", "no model named"),
    ],
)
def test_a_name_that_devices_refuse_makes_no_bundle(key, tmp_path, file, name, said):
    model = tmp_path / file
    shutil.copyfile(DEFAULT_MODEL, model)
    manifest = load_manifest(DEFAULT_MODEL)
    assert manifest is not None
    manifest.model_copy(update={"name": name}).write(manifest_path(model))
    done = run(bundle, "--model", model, "--key", key, "--out", tmp_path / "x", "--golden-frames", 1)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert not (tmp_path / "x").exists()


def test_a_compiled_twin_of_another_model_is_refused(key, tmp_path):
    twin = tmp_path / "people_edgetpu.tflite"
    twin.write_bytes(compiled(1, "out", [1, 4]))
    manifest = load_manifest(DEFAULT_MODEL)
    assert manifest is not None
    spec = CompiledSpec(cpu_twin="other.tflite", cpu_twin_sha256="0" * 64)
    manifest.model_copy(update={"sha256": sha256_of(twin), "compiled": spec}).write(manifest_path(twin))
    done = run(bundle, "--model", DEFAULT_MODEL, "--compiled", twin, "--key", key, "--out", tmp_path / "x")
    assert "was compiled from another model" in str(done.exception)


def test_the_command_line_knows_the_commands():
    done = subprocess.run(
        [sys.executable, "-m", "training", "--help"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert {"bundle", "bundle-key", "compile", "deploy", "runtime-matrix"} <= {
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")
    }

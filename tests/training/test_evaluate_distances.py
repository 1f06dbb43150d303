"""One scene through several calibrations: known answers, and the real scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.calibration import save_camera
from edge_app.config import Config
from edge_app.errors import UserError
from training.cli import cli
from training.scene_evaluation.calibrations import Ground, horizontal_field_deg, run_perfect, score
from training.scene_evaluation.scene_files import read_ground_truth
from training.simulation.scenes import Crowd, random_scene, walking_people

REPOSITORY = Path(__file__).resolve().parents[2]
PETS = REPOSITORY.parent / "shared" / "data" / "pets"
FPS = 5


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A camera file, and MOTChallenge ground truth of ten people who walk under it, with perfect boxes."""
    generator = np.random.default_rng(21)
    scene = random_scene(generator)
    folder = tmp_path_factory.mktemp("scene")
    save_camera(scene.camera, folder / "camera.yaml")
    crowd = Crowd(seconds=60, fps=FPS, noise_px=0.01, noise_part=0.0, scene_height_sd=0.0, padding_sd=0.0)
    lines = []
    for frame, seen in enumerate(walking_people(scene, crowd, generator), start=1):
        for person, box in zip(seen.tracks.id.tolist(), seen.tracks.bbox.tolist()):
            left, top, right, bottom = box
            x, y = seen.ground_m[person - 1]
            lines.append(
                f"{frame},{person},{left + 1},{top + 1},{right - left},{bottom - top},1,{100 * x:.2f},{100 * y:.2f},0"
            )
    (folder / "gt.txt").write_text("\n".join(lines), encoding="utf-8")
    return scene, folder


def test_perfect_boxes_give_the_true_distances_calibrated_and_near_ones_self_calibrated(scene):
    _, folder = scene
    arguments = ["evaluate-distances", "--gt", str(folder / "gt.txt"), "--camera", str(folder / "camera.yaml")]
    arguments += ["--fps", str(FPS), "--world-unit-m", "0.01", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    (perfect,) = json.loads(result.stdout)
    calibrated, given, free = perfect["figures"]
    assert calibrated["close_pairs"]["f1"] > 0.99
    assert calibrated["events"]["f1"] == 1.0
    assert calibrated["near_distance"]["median_m"] < 0.02
    assert calibrated["coverage_90"] is None
    for figures in (given, free):
        assert "self-calibrated" in figures["calibration"]
        assert figures["close_pairs"]["f1"] > 0.8
    assert set(perfect["older_formulas_for_comparison"]) == {"CenterPointsDistance", "FourCornerPointsDistance"}


def test_a_scene_without_a_camera_file_needs_its_size(scene):
    _, folder = scene
    result = CliRunner().invoke(cli, ["evaluate-distances", "--gt", str(folder / "gt.txt"), "--fps", "5"])
    assert result.exit_code == 2
    assert "--size WIDTH HEIGHT" in result.stderr


def test_a_camera_of_a_picture_of_another_shape_is_refused(scene):
    truth, folder = scene
    camera = truth.camera
    arguments = ["evaluate-distances", "--gt", str(folder / "gt.txt"), "--camera", str(folder / "camera.yaml")]
    size = [str(camera.image_width), str(2 * camera.image_height)]
    with pytest.raises(UserError, match=f"is for a {camera.image_width}x{camera.image_height} picture"):
        CliRunner().invoke(cli, [*arguments, "--fps", "5", "--size", *size], catch_exceptions=False)


def test_the_field_of_view_is_the_angle_that_the_picture_covers(scene):
    truth, _ = scene
    assert horizontal_field_deg(truth.camera) == pytest.approx(truth.hfov_deg, abs=0.5)


@pytest.mark.skipif(not PETS.is_dir(), reason="the PETS ground truth (../shared/data/pets) is not here")
def test_the_real_scene_meets_its_figures_self_calibrated_without_a_field_of_view():
    """Evaluation data: nothing is tuned on it."""
    arguments = ["evaluate-distances", "--gt", str(PETS / "gt.txt"), "--fps", "7", "--size", "768", "576", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    (perfect,) = json.loads(result.stdout)
    (free,) = perfect["figures"]
    assert free["close_pairs"]["f1"] >= 0.96
    assert free["near_distance"]["median_m"] <= 0.10


def test_a_wrong_camera_makes_wrong_events(scene):
    """Twice the height makes all distances twice as large: the same scene then has hardly an event."""
    truth, folder = scene
    people = read_ground_truth(folder / "gt.txt")
    people = type(people)(people.frame, people.id, people.bbox, people.score, people.xy_m / 100)
    ground = Ground(people, int(people.frame.max()), FPS)
    camera = truth.camera
    twice = type(camera)(
        camera.image_width, camera.image_height, camera.matrix, camera.distortion, camera.rotation,
        2 * camera.translation_m,
    )  # fmt: skip
    right, wrong = (score(run_perfect(ground, each, Config()), ground, "", Config()) for each in (camera, twice))
    assert wrong.close_pairs.recall < 0.6 * right.close_pairs.recall
    assert wrong.near_distance.median_m > 0.5

from __future__ import annotations

import json

import numpy as np
from click.testing import CliRunner

from training.cli import cli
from training.simulation.distances import DistanceErrors, simulate_scene
from training.simulation.scenes import Crowd


def test_coverage_counts_the_distances_inside_the_stated_interval():
    errors = DistanceErrors(np.array([2.0, 2.0, 2.0]), np.array([2.1, 2.3, 1.5]), np.array([0.1, 0.1, 0.4]))
    # One deviation, three, and one and a quarter; 90 % are within 1.645.
    assert errors.coverage == 2 / 3
    np.testing.assert_allclose(errors.median_relative_error, 0.15)


def test_stated_errors_hold_for_a_camera_that_is_known_exactly():
    crowd = Crowd(people=8, seconds=30.0, noise_time_s=0.0)
    found = [simulate_scene(seed, "exact", crowd)[1] for seed in range(8)]
    coverage = [errors.coverage for errors in found if errors is not None and len(errors) > 20]
    assert len(coverage) >= 4
    assert 0.85 <= np.mean(coverage) <= 0.95


def test_without_noise_distances_are_exact_but_for_the_tracker_that_lags():
    crowd = Crowd(people=6, seconds=20.0, fps=10.0, noise_px=0.01, noise_part=0.0)
    _, errors = simulate_scene(1, "exact", crowd)
    assert errors is not None and len(errors) > 10
    assert errors.median_relative_error < 0.03


def test_the_command_prints_coverage_and_error_for_each_way_to_calibrate():
    arguments = ["simulate-distances", "--calibration", "points", "--calibration", "pose"]
    arguments += ["--scenes", "2", "--seconds", "20", "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report) == {"points", "pose"}
    for figures in report.values():
        assert figures["scenes"] + figures["refused"] == 2
        assert 0.5 < figures["coverage_90"] <= 1.0

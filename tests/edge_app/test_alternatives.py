"""The error of a calibration reaches the distances."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.calibration import load_camera
from edge_app.calibration.alternatives import independent_directions
from edge_app.calibration.camera_file import save_camera
from edge_app.calibration.points import Intrinsics, calibrate_points
from edge_app.calibration.pose import PoseErrors, camera_from_pose
from edge_app.distances import measure_pairs
from edge_app.ground_plane import locate
from edge_app.records import GroundPoints, Tracks

SIZE = (1280, 720)
POINTS_M = np.array([[-3.0, 5.0], [3.0, 5.0], [3.0, 11.0], [-3.0, 11.0], [0.0, 8.0], [-2.0, 7.0]])


def true_camera():
    return camera_from_pose(SIZE, height_m=4.0, tilt_deg=25.0, roll_deg=1.0, hfov_deg=70.0, distortion=np.zeros(5))


def tracks_at(camera, places_m):
    """People whose feet are known exactly."""
    count = len(places_m)
    foot = camera.ground_to_image(np.asarray(places_m, np.float64))
    return Tracks(np.arange(1, count + 1), np.zeros((count, 4), np.float32), np.ones(count, np.float32), foot,
                  np.zeros((count, 2, 2)), np.ones(count, np.bool_))  # fmt: skip


def distance(camera, places_m, truth):
    tracks = tracks_at(truth, places_m)
    return measure_pairs(tracks.id, locate(camera, tracks), 2.0)


def test_errors_are_split_into_directions_of_the_same_covariance():
    changes = np.random.default_rng(0).normal(size=(12, 3)) * [1.0, 1e-3, 10.0]
    directions = independent_directions(changes)
    assert directions.shape == (3, 3)
    np.testing.assert_allclose(directions.T @ directions, changes.T @ changes, rtol=1e-6, atol=1e-12)


def test_errors_of_calibration_move_both_people_and_add_up_along_the_line_between_them():
    shift = np.array([[[0.3, 0.0], [0.0, 1.0]], [[0.7, 0.0], [0.0, 1.0]]])
    ground = GroundPoints(np.array([[0.0, 0.0], [3.0, 0.0]]), np.zeros((2, 2, 2)), np.ones(2, np.bool_), shift)
    pairs = measure_pairs(np.array([1, 2]), ground, 2.0)
    # 0.7 - 0.3 along the line; the second direction moves both alike and across it.
    assert pairs.sigma_m[0] == pytest.approx(0.4)


@pytest.mark.parametrize("lens_known", [False, True])
def test_the_stated_error_is_that_of_points_clicked_again_and_again(lens_known):
    truth = true_camera()
    pixels = truth.ground_to_image(POINTS_M)
    places = [[-1.0, 10.0], [1.0, 10.5]]
    rng = np.random.default_rng(0)
    lens = Intrinsics(truth.matrix, np.zeros(5)) if lens_known else None
    stated, measured = [], []
    for _ in range(60):
        camera = calibrate_points(pixels + rng.normal(0, 2.0, pixels.shape), POINTS_M, SIZE, lens).camera
        pairs = distance(camera, places, truth)
        stated.append(pairs.sigma_m[0])
        measured.append(pairs.distance_m[0])
    spread = np.std(np.array(measured) - np.hypot(2.0, 0.5))
    # The focal length of the data sheet is taken to be 1.5 % wrong, which these trials are not.
    assert 0.8 * spread < np.median(stated) < (2.0 if lens_known else 1.4) * spread


def test_a_pose_is_as_uncertain_as_its_measurements():
    places = [[0.0, 6.0], [0.0, 8.0]]
    camera = camera_from_pose(SIZE, height_m=4.0, tilt_deg=25.0, roll_deg=0.0, hfov_deg=70.0, distortion=np.zeros(5))
    only_height = camera_from_pose(
        SIZE,
        height_m=4.0,
        tilt_deg=25.0,
        roll_deg=0.0,
        hfov_deg=70.0,
        distortion=np.zeros(5),
        sd=PoseErrors(0.2, 1e-9, 1e-9, 1e-9),
    )
    # Distances grow with the camera's height: 5 % of 2 m.
    assert distance(only_height, places, camera).sigma_m[0] == pytest.approx(0.1, rel=1e-3)
    assert distance(camera, places, camera).sigma_m[0] > 0.03


@pytest.mark.parametrize("lens_known", [False, True])
def test_alternatives_survive_the_camera_file_and_another_resolution(tmp_path, lens_known):
    truth = true_camera()
    lens = Intrinsics(truth.matrix, np.zeros(5)) if lens_known else None
    camera = calibrate_points(truth.ground_to_image(POINTS_M), POINTS_M, SIZE, lens).camera
    save_camera(camera, tmp_path / "camera.yaml")
    loaded = load_camera(tmp_path / "camera.yaml")
    assert len(loaded.alternatives) == len(camera.alternatives) > 0
    places = [[0.0, 8.0], [1.0, 9.0]]
    expected = distance(camera, places, truth)
    assert distance(loaded, places, truth).sigma_m[0] == pytest.approx(expected.sigma_m[0], rel=1e-6)
    half = truth.scaled_to(640, 360)
    assert distance(loaded.scaled_to(640, 360), places, half).sigma_m[0] == pytest.approx(expected.sigma_m[0], rel=1e-6)

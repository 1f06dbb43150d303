from __future__ import annotations

import numpy as np
import pytest

from edge_app.ground_plane import locate
from edge_app.records import Tracks
from tests.edge_app.synthetic import camera_looking_down


def tracks_at(feet, cov):
    count = len(feet)
    return Tracks(
        np.arange(1, count + 1), np.zeros((count, 4), np.float32), np.ones(count, np.float32),
        np.asarray(feet, float), np.tile(cov, (count, 1, 1)), np.ones(count, bool),
    )  # fmt: skip


def test_foot_noise_becomes_ground_noise_as_a_simulation_says():
    camera = camera_looking_down()
    foot = camera.ground_to_image(np.array([[1.0, 8.0]]))
    cov = np.array([[4.0, 0.5], [0.5, 2.0]])
    ground = locate(camera, tracks_at(foot, cov))
    rng = np.random.default_rng(0)
    simulated = camera.image_to_ground(rng.multivariate_normal(foot[0], cov, 20000))
    np.testing.assert_allclose(ground.xy_m[0], [1.0, 8.0], atol=1e-9)
    np.testing.assert_allclose(ground.cov_m2[0], np.cov(simulated.T), rtol=0.06, atol=2e-4)


def test_a_foot_above_the_horizon_is_not_valid():
    ground = locate(camera_looking_down(), tracks_at([[480.0, 10.0], [480.0, 700.0]], np.eye(2)))
    assert ground.valid.tolist() == [False, True]
    assert np.isnan(ground.xy_m[0]).all()


def test_without_a_camera_nobody_has_a_position():
    ground = locate(None, tracks_at([[480.0, 700.0]], np.eye(2)))
    assert not ground.valid.any()
    assert np.isnan(ground.xy_m).all()


def alternatives_of(camera):
    from edge_app.calibration.points import calibrate_points
    from edge_app.calibration.pose import camera_from_pose

    if camera == "pinhole":
        return camera_from_pose((1280, 720), height_m=4.0, tilt_deg=30.0, roll_deg=2.0, hfov_deg=95.0)
    truth = camera_from_pose((1280, 720), height_m=4.0, tilt_deg=30.0, roll_deg=2.0, hfov_deg=95.0)
    corners = np.array([[-2.0, 4.0], [2.0, 4.0], [2.0, 9.0], [-2.0, 9.0], [0.0, 6.0], [-1.0, 7.5]])
    return calibrate_points(truth.ground_to_image(corners), corners, (1280, 720)).camera


@pytest.mark.parametrize("kind", ["pinhole", "homography"])
def test_one_pass_over_all_cameras_says_what_each_camera_says(kind):
    camera = alternatives_of(kind)
    rng = np.random.default_rng(0)
    foot = np.column_stack([rng.uniform(0, 1280, 40), rng.uniform(250, 720, 40)])
    ground = locate(camera, tracks_at(foot, np.diag([4.0, 9.0])))
    expected = camera.image_to_ground(foot)
    np.testing.assert_allclose(ground.xy_m[ground.valid], expected[ground.valid], rtol=1e-4, atol=1e-4)
    near = ground.valid & (np.hypot(*ground.xy_m.T) < 30)
    assert near.sum() > 20
    for number, other in enumerate(camera.alternatives):
        shift = other.image_to_ground(foot) - expected
        np.testing.assert_allclose(ground.shift_m[near, number], shift[near], rtol=2e-3, atol=2e-3)
    step = np.array([[0.0, 0.5]])
    by_row = camera.image_to_ground(foot + step) - camera.image_to_ground(foot - step)
    by_column = camera.image_to_ground(foot + step[:, ::-1]) - camera.image_to_ground(foot - step[:, ::-1])
    jacobian = np.stack([by_column, by_row], axis=2)
    cov = jacobian @ np.diag([4.0, 9.0]) @ jacobian.transpose(0, 2, 1)
    np.testing.assert_allclose(ground.cov_m2[near], cov[near], rtol=0.02, atol=1e-4)


def test_feet_far_below_the_picture_have_no_position():
    ground = locate(camera_looking_down(), tracks_at([[480.0, 4000.0], [np.nan, 500.0]], np.eye(2)))
    assert not ground.valid.any()

from __future__ import annotations

import numpy as np

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

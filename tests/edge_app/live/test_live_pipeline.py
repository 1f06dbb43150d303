"""What is told of the calibration while it runs: it does not fit, the camera was moved, it was made anew."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.calibration import save_camera
from edge_app.calibration.scene_reference import Thumbnail, reference_of
from edge_app.config import Config
from edge_app.errors import UserError
from edge_app.live.live_pipeline import LivePipeline
from edge_app.records import Frame
from tests.edge_app.scenes import NoModel
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(width=320, height=240, focal_px=200.0)
BEFORE, AFTER = (np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8) for seed in (1, 2))
OVER_THE_HORIZON = ((0.0, 5.0), (3.0, 5.0), (0.0, -500.0))


def view_of(scene, width=320, height=240):
    """Return a picture whose edges are those of the scene's blocks."""
    rows, columns = np.arange(height) * 12 // height, np.arange(width) * 16 // width
    return scene[rows][:, columns]


def scene_reference(scene):
    return reference_of([Thumbnail(view_of(scene), np.zeros((0, 4), np.float32))])


class Watching:
    """A live pipeline that sees two people a metre apart, a frame a second, and what it told."""

    def __init__(self, config):
        self.live = LivePipeline(config, NoModel())
        self.told, self.frames = [], 0

    def see(self, image, frames=1):
        """Return the last result."""
        height, width = image.shape[:2]
        camera = CAMERA if width * 240 != height * 320 else CAMERA.scaled_to(width, height)
        people = boxes_of_people(camera, np.array([[0.0, 6.0], [1.0, 6.0]]))
        for _ in range(frames):
            news = self.live.adapt_to(Frame(image, self.frames, float(self.frames)))
            self.told += [news] if news else []
            result = self.live.interpret(self.frames, float(self.frames), people)
            self.frames += 1
        return result


@pytest.fixture
def config(tmp_path):
    """A configuration whose camera file knows the scene of before."""
    path = tmp_path / "camera.yaml"
    save_camera(CAMERA, path, reference=scene_reference(BEFORE))
    return Config(calibration=path)


@pytest.fixture
def moved(config):
    """A camera that was moved, which has been noticed."""
    watching = Watching(config)
    watching.see(view_of(BEFORE), 12)
    assert watching.see(view_of(AFTER), 20).in_metres is False
    ((ok, sentence),) = watching.told
    assert not ok
    assert "calibrate it again" in sentence
    return watching


def with_threshold(config):
    return config.model_copy(update={"distance": config.distance.model_copy(update={"threshold_m": 1.5})})


def test_another_setting_does_not_make_a_moved_camera_claim_distances(config, moved):
    moved.live.reconfigure(with_threshold(config))
    for _ in range(12):
        assert not moved.see(view_of(AFTER)).in_metres
    assert len(moved.told) == 1


def test_another_size_does_not_make_a_moved_camera_claim_distances(moved):
    for _ in range(12):
        assert not moved.see(view_of(AFTER, 640, 480)).in_metres
    assert len(moved.told) == 1


def test_a_moved_camera_that_is_calibrated_again_in_the_same_file_claims_distances_and_says_so(config, moved):
    save_camera(CAMERA, config.calibration, reference=scene_reference(AFTER))
    moved.live.reconfigure(config)
    assert moved.see(view_of(AFTER)).in_metres
    assert moved.see(view_of(AFTER), 20).in_metres
    assert moved.told[1:] == [(True, "the calibration fits, and distances are claimed")]


def test_a_moved_camera_that_gets_another_file_claims_distances_and_says_so(config, moved, tmp_path):
    save_camera(CAMERA, tmp_path / "again.yaml", reference=scene_reference(AFTER))
    moved.live.reconfigure(config.model_copy(update={"calibration": tmp_path / "again.yaml"}))
    assert moved.see(view_of(AFTER), 20).in_metres
    assert [ok for ok, _ in moved.told] == [False, True]


def test_a_calibration_of_another_shape_is_told_until_one_that_fits_is_in_force(config):
    watching = Watching(config)
    wide = view_of(BEFORE, 320, 180)
    assert not watching.see(wide, 3).in_metres
    with pytest.raises(UserError, match="picture"):
        watching.live.reconfigure(with_threshold(config))
    save_camera(camera_looking_down(width=320, height=180, focal_px=200.0), config.calibration)
    watching.live.reconfigure(config)
    assert watching.see(wide, 3).in_metres
    assert [ok for ok, _ in watching.told] == [False, True]
    assert "320x240" in watching.told[0][1]


def test_a_calibration_that_is_taken_away_again_is_told_too(config):
    watching = Watching(config)
    watching.see(view_of(BEFORE, 320, 180))
    watching.live.reconfigure(Config())
    watching.see(view_of(BEFORE, 320, 180), 2)
    assert watching.told[1:] == [(True, "no calibration is configured any more, so no distances are claimed")]


def test_what_was_changed_just_before_the_picture_changes_its_size_is_right_for_the_new_size(config):
    watching = Watching(config)
    watching.see(view_of(BEFORE), 4)
    watching.live.reconfigure(with_threshold(config))
    result = watching.see(view_of(BEFORE, 640, 480), 4)
    assert watching.live.pipeline.camera.image_width == 640
    np.testing.assert_allclose(result.pairs.distance_m, [1.0], atol=0.05)


def test_a_region_over_the_horizon_is_told_until_it_is_corrected_and_distances_are_claimed(config):
    metrics = config.metrics.model_copy(update={"region_m": OVER_THE_HORIZON})
    watching = Watching(config.model_copy(update={"metrics": metrics}))
    assert watching.see(view_of(BEFORE), 3).in_metres
    ((ok, sentence),) = watching.told
    assert (ok, "over the horizon" in sentence) == (False, True)
    watching.live.reconfigure(config)
    watching.see(view_of(BEFORE), 3)
    assert [ok for ok, _ in watching.told] == [False, True]


def test_a_calibration_that_vanishes_before_the_next_picture_is_told(config):
    watching = Watching(config)
    watching.see(view_of(BEFORE))
    watching.live.reconfigure(with_threshold(config))
    config.calibration.unlink()
    assert not watching.see(view_of(BEFORE)).in_metres
    ((ok, sentence),) = watching.told
    assert (ok, "does not exist" in sentence) == (False, True)

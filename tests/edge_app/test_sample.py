"""The sample clip, its camera and the configurations that name them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edge_app.calibration import PinholeCamera, load_camera
from edge_app.config import SAMPLE, Config, load_config
from edge_app.source import VideoFile, open_source

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "config"
CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"


def test_the_clip_has_twenty_seconds_at_its_true_rate() -> None:
    source = open_source(load_config(None).source, uri=str(CLIP))
    frames = list(source)
    source.close()
    assert (source.fps, source.width, source.height, len(frames)) == (7.0, 768, 576, 140)
    assert [frame.time_s for frame in frames] == pytest.approx((np.arange(140) / 7).tolist(), abs=1e-3)


def test_the_clip_is_small_enough_to_be_cloned() -> None:
    assert CLIP.stat().st_size <= 2_500_000


def test_every_decoder_makes_the_same_pictures_of_the_clip() -> None:
    """It holds RGB: no colours are converted, which FFmpeg does in other ways on other processors."""
    pixels = hashlib.sha256()
    for frame in VideoFile(CLIP):
        pixels.update(frame.image.tobytes())
    assert pixels.hexdigest() == "ee452b9f176217263f2e94a28b957e78c0c64f70360760be3f32552308e19897"


def test_the_demonstration_loops_the_clip_with_its_camera() -> None:
    config = load_config(CONFIGURATIONS / "demo.yaml")
    assert config.source.uri is not None
    assert Path(config.source.uri).resolve() == CLIP.resolve()
    assert config.source.loop
    assert config.calibration is not None
    camera = load_camera(config.calibration)
    assert (camera.image_width, camera.image_height) == (768, 576)


def test_the_camera_stands_where_the_data_set_says() -> None:
    camera = load_camera(CONFIGURATIONS / "cameras" / "pets_view001.yaml")
    assert isinstance(camera, PinholeCamera)
    # -R^T t of the data set's View_001.xml, metres.
    assert camera.position_m == pytest.approx([-28.940, -19.529, 7.066], abs=1e-3)


def test_the_evaluation_configuration_keeps_the_defaults_that_it_explains() -> None:
    config, defaults = load_config(CONFIGURATIONS / "pets_s2l1.yaml"), Config()
    assert config.source.fps == 7
    for section in ("tracker", "distance", "events", "privacy"):
        assert getattr(config, section) == getattr(defaults, section)
    assert config.model.model_copy(update={"path": defaults.model.path}) == defaults.model

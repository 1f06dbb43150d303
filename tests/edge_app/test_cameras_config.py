from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_app.calibration import save_camera
from edge_app.capture.open_camera import open_camera, source_address
from edge_app.config import SourceConfig, parse_config
from edge_app.config_check import check_references
from edge_app.errors import UserError
from tests.edge_app.synthetic import camera_looking_down


def test_a_configuration_with_one_source_is_one_camera(tmp_path):
    config = parse_config({"source": {"uri": "0"}}, "c", tmp_path)
    assert list(config.for_each_camera()) == ["camera"]


def test_each_camera_has_its_own_source_calibration_and_metrics(tmp_path):
    (tmp_path / "lobby.yaml").touch()
    region = [[0, 0], [4, 0], [4, 3]]
    content = {
        "metrics": {"line_m": [[0, 0], [1, 1]]},
        "cameras": {
            "lobby": {"source": {"uri": "rtsp://a/b"}, "calibration": "lobby.yaml", "metrics": {"region_m": region}},
            "yard": {"source": {"uri": "1"}},
        },
    }
    cameras = parse_config(content, "c", tmp_path).for_each_camera()
    assert cameras["lobby"].calibration == tmp_path / "lobby.yaml"
    assert cameras["lobby"].metrics.region_m is not None
    assert cameras["yard"].calibration is None
    assert cameras["yard"].metrics.line_m is not None
    assert not cameras["yard"].cameras


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"source": {"uri": "0"}, "cameras": {"a": {"source": {"uri": "1"}}}}, "either 'cameras' or 'source'"),
        ({"cameras": {"a b": {"source": {"uri": "1"}}}}, "cameras"),
        ({"cameras": {"a": {}}}, "cameras.a.source"),
        ({"model": {"device": "gpu"}}, "model.device"),
        ({"tiles": {"mode": "always"}}, "tiles.mode"),
    ],
)
def test_mistakes_about_cameras_and_devices_are_told(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        parse_config(content, "c", tmp_path)


def test_a_camera_that_is_away_does_not_make_a_configuration_wrong(tmp_path):
    config = parse_config({"cameras": {"yard": {"source": {"uri": "97"}}}}, "c", tmp_path)
    lines = list(check_references(config))
    assert any("source of yard: camera /dev/video97 is not there" in line for line in lines)


@pytest.fixture
def lobby(tmp_path):
    """Content of a configuration with a calibration for a source of 768x576."""
    save_camera(camera_looking_down(width=768, height=576), tmp_path / "lobby.yaml")
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((576, 768, 3), np.uint8))
    return {"source": {"uri": "."}, "calibration": "lobby.yaml"}


def test_a_calibration_for_another_shape_than_the_source_has_is_refused(tmp_path, lobby):
    lines = list(check_references(parse_config(lobby, "c", tmp_path)))
    assert any("768x576 at" in line for line in lines)
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((200, 320, 3), np.uint8))
    with pytest.raises(UserError, match="for a 768x576 picture, but the source gives 320x200"):
        list(check_references(parse_config(lobby, "c", tmp_path)))


@pytest.mark.parametrize("uri", [".", "97"], ids=["a source that is there", "one that is away"])
def test_a_region_over_the_horizon_is_refused(tmp_path, lobby, uri):
    content = {**lobby, "source": {"uri": uri}, "metrics": {"region_m": [[0, 5], [3, 5], [0, -500]]}}
    with pytest.raises(UserError, match="over the horizon"):
        list(check_references(parse_config(content, "c", tmp_path)))


@pytest.mark.parametrize(
    ("uri", "kind"), [("videotestsrc ! " + "queue ! " * 60 + "appsink", "gstreamer"), ("x" * 300 + ".mp4", "file")]
)
def test_a_source_that_is_too_long_for_a_path_is_none(tmp_path, uri, kind):
    config = parse_config({"source": {"uri": uri}}, "c", tmp_path)
    assert config.source.uri == uri
    assert source_address(config.source).kind == kind


def test_a_file_name_that_is_too_long_does_not_exist():
    with pytest.raises(UserError, match="does not exist"):
        open_camera(SourceConfig(uri="x" * 300 + ".mp4"))

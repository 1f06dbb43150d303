from __future__ import annotations

import pytest

from edge_app.config import parse_config
from edge_app.config_check import check_references
from edge_app.errors import UserError


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

from __future__ import annotations

import numpy as np
import pytest

from edge_app.preprocess import InputGeometry, resize_to_input


def test_stretch_fills_the_input_and_boxes_come_back():
    geometry = InputGeometry.fit(768, 576, 300, 300, "stretch")
    boxes = geometry.boxes_to_source(np.array([[0.25, 0.5, 0.75, 1.0]]))
    np.testing.assert_allclose(boxes, [[384, 144, 768, 432]], rtol=1e-6)


def test_letterbox_keeps_the_aspect_and_boxes_come_back():
    picture, geometry = resize_to_input(np.full((360, 640, 3), 255, np.uint8), 300, 300, "letterbox")
    # 640x360 becomes 300x169, 65 rows down
    assert picture[64, 0].tolist() == [127, 127, 127]
    assert picture[65, 0].tolist() == [255, 255, 255]
    assert picture[65 + 168, 0].tolist() == [255, 255, 255]
    assert picture[65 + 169, 0].tolist() == [127, 127, 127]
    boxes = geometry.boxes_to_source(np.array([[65 / 300, 0.0, 234 / 300, 1.0]]))
    np.testing.assert_allclose(boxes, [[0, 0, 640, 360]], atol=1e-3)


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(768, 576), (576, 768), (1920, 1080), (301, 97)])
def test_boxes_survive_the_way_to_the_model_and_back(mode, size):
    geometry = InputGeometry.fit(*size, 300, 300, mode)
    boxes = np.array([[3.0, 5.0, 40.0, 90.0], [0.0, 0.0, size[0], size[1]]], np.float32)
    np.testing.assert_allclose(geometry.boxes_to_source(geometry.boxes_to_model(boxes)), boxes, atol=1e-3)


def test_colours_become_rgb():
    blue = np.zeros((10, 10, 3), np.uint8)
    blue[..., 0] = 200
    for mode in ("stretch", "letterbox"):
        picture, _ = resize_to_input(blue, 20, 20, mode)
        assert picture[10, 10].tolist() == [0, 0, 200]

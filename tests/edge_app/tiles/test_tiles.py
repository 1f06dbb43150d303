from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from edge_app.calibration.camera import HomographyCamera
from edge_app.config import parse_config
from edge_app.detector import detect
from edge_app.manifest import InputSpec
from edge_app.preprocess import resize_to_input
from edge_app.records import Detections
from edge_app.tiles.config import TilesConfig
from edge_app.tiles.merge import merge_views
from edge_app.tiles.plan import Tile, person_heights, plan_tiles
from edge_app.tiles.tiled_detector import TiledDetector, with_tiles
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(height_m=5.0, tilt_deg=20.0, focal_px=900.0, width=1280, height=720)
SIZE = (1280, 720)
MODEL = (300, 300)


def inside(box, tile):
    return tile.x <= box[0] and tile.y <= box[1] and box[2] <= tile.x + tile.width and box[3] <= tile.y + tile.height


def test_every_small_person_lies_uncut_in_a_tile_in_which_they_are_not_small():
    tiles = plan_tiles(SIZE, MODEL, CAMERA, TilesConfig())
    x, y = np.meshgrid(np.linspace(-15, 15, 61), np.linspace(4, 45, 83))
    people = boxes_of_people(CAMERA, np.column_stack([x.ravel(), y.ravel()])).bbox
    whole = (people[:, :2] >= 0).all(axis=1) & (people[:, 2] <= 1280) & (people[:, 3] <= 720)
    height = people[:, 3] - people[:, 1]
    small = people[whole & (height * 300 / 720 < 64) & (height >= 17)]
    assert len(small) > 500
    for box in small:
        best = max((box[3] - box[1]) * MODEL[1] / tile.height for tile in tiles if inside(box, tile))
        assert best >= 0.9 * min(64.0, box[3] - box[1])


def test_near_people_get_no_tiles():
    near = camera_looking_down(height_m=2.5, tilt_deg=50.0, focal_px=900.0, width=1280, height=720)
    assert plan_tiles(SIZE, MODEL, near, TilesConfig()) == ()


def test_heights_are_those_of_the_camera():
    feet = CAMERA.ground_to_image(np.array([[0.0, 20.0]]))
    head = CAMERA.world_to_image(np.array([[0.0, 20.0, 1.7]]))
    assert person_heights(CAMERA, feet[:, 1]) == pytest.approx([feet[0, 1] - head[0, 1]], rel=1e-6)


@pytest.mark.parametrize("camera", [None, CAMERA])
@pytest.mark.parametrize("most", [1, 3, 12])
def test_there_are_never_more_tiles_than_allowed(camera, most):
    tiles = plan_tiles(SIZE, MODEL, camera, TilesConfig(max_tiles=most))
    assert len(tiles) <= most
    assert all(tile.x + tile.width <= 1280 and tile.y + tile.height <= 720 for tile in tiles)


def test_without_a_calibration_tiles_cover_all_of_the_picture():
    covered = np.zeros((720, 1280), np.bool_)
    for tile in plan_tiles(SIZE, MODEL, None, TilesConfig(max_tiles=24)):
        covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert covered.all()


def test_a_picture_no_larger_than_the_input_has_no_tiles():
    assert plan_tiles((300, 300), MODEL, None, TilesConfig()) == ()


def found(*boxes):
    return Detections(np.array([box[:4] for box in boxes], np.float32), np.array([box[4] for box in boxes], np.float32))


LEFT, RIGHT = Tile(0, 0, 300, 300), Tile(200, 0, 300, 300)


def test_one_person_in_two_tiles_and_the_whole_picture_is_one():
    merged = merge_views(
        [
            (found((220, 100, 260, 200, 0.5)), None),
            (found((221, 101, 259, 199, 0.9)), LEFT),
            (found((219, 99, 261, 201, 0.8)), RIGHT),
        ],
        (500, 300),
    )
    # Each look weighs by its score and by how large it shows people: in a tile more than in the whole picture.
    weights = np.array([0.5 / (500 * 300), 0.9 / (300 * 300), 0.8 / (300 * 300)])
    left, top, right, bottom = weights @ [[220, 100, 260, 200], [221, 101, 259, 199], [219, 99, 261, 201]]
    np.testing.assert_allclose(merged.bbox, np.array([[left, top, right, bottom]]) / weights.sum(), rtol=1e-6)


def test_a_box_is_the_mean_of_one_look_of_each_view_and_takes_nothing_from_cut_ones():
    merged = merge_views(
        [
            (found((220, 100, 260, 200, 0.75), (225, 100, 265, 200, 0.5)), None),
            (found((224, 100, 264, 200, 0.45)), Tile(100, 0, 300, 300)),
            (found((222, 100, 299, 200, 0.9)), LEFT),
        ],
        (500, 300),
    )
    # The first two weigh alike: the tile's score is as much lower as the tile is smaller.
    # The second box of the whole picture is somebody else's there; the tile's edge cut the last one off.
    np.testing.assert_allclose(merged.bbox[0], [222, 100, 262, 200], rtol=1e-6)


def test_a_neighbour_whom_the_closer_look_shows_better_takes_no_part_of_somebodys_box():
    left, right = (100, 100, 140, 200), (114, 100, 154, 200)
    views = [(found((*left, 0.92), (*right, 0.60)), None), (found((*left, 0.85), (*right, 0.90)), LEFT)]
    np.testing.assert_allclose(merge_views(views, (1920, 1080)).bbox, [left, right], rtol=1e-6)


def test_a_loose_look_or_one_at_half_a_person_does_not_move_the_box():
    for other in ((100, 100, 140, 150, 0.3), (125, 100, 165, 200, 0.9)):
        merged = merge_views([(found((100, 100, 140, 200, 0.95)), None), (found(other), LEFT)], (1920, 1080))
        np.testing.assert_allclose(merged.bbox[0], [100, 100, 140, 200])


@pytest.mark.parametrize("score", [0.0, np.nan])
def test_a_look_without_a_score_changes_no_other(score):
    person = (100, 100, 140, 200)
    merged = merge_views([(found((*person, 0.5)), None), (found((101, 101, 141, 201, score)), LEFT)], (500, 300))
    assert person in {tuple(box) for box in merged.bbox.tolist()}
    nobody = merge_views([(found((*person, score)), None), (Detections.empty(), LEFT)], (500, 300))
    np.testing.assert_allclose(nobody.bbox, [person])


def test_a_half_person_at_a_seam_gives_way_to_the_whole_one_even_with_the_higher_score():
    merged = merge_views(
        [
            (Detections.empty(), None),
            (found((270, 100, 300, 200, 0.95)), LEFT),
            (found((270, 100, 330, 200, 0.6)), RIGHT),
        ],
        (500, 300),
    )
    np.testing.assert_allclose(merged.bbox, [[270, 100, 330, 200]])


def test_two_people_side_by_side_at_a_seam_stay_two():
    pair = ((240, 100, 268, 180, 0.9), (266, 102, 296, 182, 0.8))
    merged = merge_views([(Detections.empty(), None), (found(*pair), LEFT), (found(*pair), RIGHT)], (500, 300))
    assert len(merged) == 2


def test_two_people_whom_one_look_tells_apart_are_not_merged():
    close = ((100, 100, 140, 200, 0.9), (112, 100, 152, 200, 0.8))
    merged = merge_views([(found(*close), None), (Detections.empty(), LEFT)], (500, 300))
    assert len(merged) == 2


class MarkFinder:
    """Finds the one bright spot of a picture."""

    name = "mark finder"
    input = InputSpec(width=100, height=100, dtype="uint8")

    def __init__(self):
        self.calls = 0

    def preprocess(self, image):
        return resize_to_input(image, 100, 100, "stretch")

    def invoke(self, tensor):
        self.calls += 1
        return tensor

    def decode(self, outputs, geometry):
        rows, columns = np.nonzero(outputs[:, :, 0] > 250)
        if len(rows) == 0:
            return Detections.empty()
        box = np.array([[rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]]) / 100
        return Detections(geometry.boxes_to_source(box), np.array([0.9], np.float32))


def marked(x, y):
    image = np.zeros((400, 400, 3), np.uint8)
    image[y : y + 8, x : x + 8] = 255
    return image


def test_boxes_of_tiles_are_in_the_source_pixels_of_the_whole_picture():
    detector = TiledDetector(MarkFinder(), TilesConfig(mode="on", max_tiles=64), None, in_real_time=False)
    for x, y in ((10, 20), (190, 205), (330, 380)):
        box = detect(detector, marked(x, y)).bbox
        np.testing.assert_allclose(box, [[x, y, x + 8, y + 8]], atol=4.1)


def test_a_new_size_gets_new_tiles():
    detector = TiledDetector(MarkFinder(), TilesConfig(mode="on"), None, in_real_time=False)
    detect(detector, marked(10, 10))
    before = detector.tiles
    detect(detector, np.zeros((200, 100, 3), np.uint8))
    assert detector.tiles != before
    assert all(tile.x + tile.width <= 100 and tile.y + tile.height <= 200 for tile in detector.tiles)


def test_automatic_tiles_keep_to_the_time_and_all_get_their_turn_those_with_people_more_often(monkeypatch):
    inner = MarkFinder()
    clock = SimpleNamespace(perf_counter=lambda: 0.01 * inner.calls)
    monkeypatch.setattr("edge_app.tiles.tiled_detector.time", clock)
    detector = TiledDetector(inner, TilesConfig(mode="auto", budget_ms=45, max_tiles=64), None, in_real_time=True)
    looked = {}
    for _ in range(40):
        before = inner.calls
        tensors, geometry = detector.preprocess(marked(10, 10))
        detector.invoke(tensors)
        detector.attend(np.array([[5, 5, 20, 20]], np.float32))
        assert inner.calls - before <= 4
        for tile in geometry.tiles[1:]:
            looked[tile] = looked.get(tile, 0) + 1
    assert set(looked) == set(detector.tiles)
    assert looked[detector.tiles[0]] >= 2 * np.median(list(looked.values()))


class Coarse(MarkFinder):
    """Finds the mark in tiles only."""

    def preprocess(self, image):
        return super().preprocess(image if image.shape[0] < 400 else np.zeros_like(image))


def told_by(detector, frames=1):
    """Return how many each frame shows, and how many it tells of whose turn it is not."""
    told = []
    for _ in range(frames):
        tensors, geometry = detector.preprocess(marked(350, 350))
        found = detector.decode(detector.invoke(tensors), geometry)
        told.append((len(found), 0 if found.unchecked is None else len(found.unchecked)))
    return told


def test_whom_only_a_tile_shows_is_told_of_until_its_turn_comes_again():
    told = told_by(TiledDetector(Coarse(), TilesConfig(mode="auto", max_tiles=64), None, tiles_a_frame=1), 60)
    first = told.index((1, 0))
    assert set(told[first:]) == {(1, 0), (0, 1)}
    assert told[first:].count((0, 1)) >= 3


def test_whom_only_a_tile_shows_is_told_of_though_settings_change():
    detector = TiledDetector(Coarse(), TilesConfig(mode="auto", max_tiles=64), None, tiles_a_frame=1)
    assert (1, 0) in told_by(detector, 60)
    for _ in range(60):
        detector.refit(None)
        assert told_by(detector)[0] in ((1, 0), (0, 1))


def test_whom_only_a_tile_shows_is_told_of_while_there_is_no_time_for_tiles_but_not_for_ever(monkeypatch):
    detector = TiledDetector(Coarse(), TilesConfig(mode="auto", max_tiles=64), None, tiles_a_frame=1)
    assert (1, 0) in told_by(detector, 60)
    monkeypatch.setattr(detector, "_tiles_a_frame", 0)
    told = told_by(detector, 120)
    assert told[0] == (0, 1)
    assert told[-1] == (0, 0)


def test_offline_all_tiles_are_looked_at_so_that_results_can_be_had_again():
    inner = MarkFinder()
    detector = TiledDetector(inner, TilesConfig(mode="auto", budget_ms=1), None, in_real_time=False)
    tensors, _ = detector.preprocess(marked(10, 10))
    assert len(tensors) == 1 + len(detector.tiles)


def test_tiles_that_are_off_leave_the_detector_as_it_is():
    inner = MarkFinder()
    assert with_tiles(inner, TilesConfig(), None, in_real_time=True) is inner


def test_tiles_are_on_by_default_where_a_calibration_knows_how_tall_people_are():
    inner = MarkFinder()
    assert isinstance(with_tiles(inner, TilesConfig(), CAMERA, in_real_time=True), TiledDetector)
    assert with_tiles(inner, TilesConfig(mode="off"), CAMERA, in_real_time=True) is inner
    assert with_tiles(inner, TilesConfig(), HomographyCamera(1280, 720, np.eye(3)), in_real_time=True) is inner


@pytest.mark.parametrize(("written", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto"), ('"off"', "off")])
def test_on_and_off_may_be_written_without_quotes(written, meant):
    content = yaml.safe_load(f"tiles: {{mode: {written}}}")
    assert parse_config(content, "x.yaml", Path()).tiles.mode == meant

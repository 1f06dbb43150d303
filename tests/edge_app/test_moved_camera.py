"""A camera that was moved is noticed; people, light and night are not taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.calibration import load_camera, save_camera
from edge_app.calibration.camera_file import add_reference, load_reference
from edge_app.calibration.moved_camera import CameraWatch, compare_scene
from edge_app.calibration.scene_reference import SceneReference, Thumbnail, _median_of_known, reference_of
from edge_app.cli import cli
from edge_app.config import SAMPLE, Config
from edge_app.errors import UserError
from edge_app.pipeline import Pipeline
from edge_app.records import Detections, Frame
from edge_app.source import VideoFile
from tests.edge_app.synthetic import camera_looking_down

CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
NOBODY = np.zeros((0, 4), np.float32)


class NoModel:
    name = "none"


@pytest.fixture(scope="module")
def frames():
    """A picture a second of a real scene with people who walk."""
    return [frame.image for frame in VideoFile(CLIP) if frame.index % 7 == 0]


@pytest.fixture(scope="module")
def reference(frames):
    return reference_of([Thumbnail(frames[0], NOBODY)])


def seen(frames, change=lambda image: image):
    return reference_of([Thumbnail(change(image), NOBODY) for image in frames[-9:]])


def turned(image, right=0.0, down=0.0, degrees=0.0, zoom=1.0):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, zoom)
    matrix[:, 2] += (right * width, down * width)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def half_in_shadow(image):
    lit = np.ones(image.shape[1])
    lit[: image.shape[1] * 2 // 5] = 0.5
    return (image * lit[None, :, None]).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: (0.4 * image).astype(np.uint8),
        lambda image: np.clip(1.5 * image + 20.0, 0, 255).astype(np.uint8),
        half_in_shadow,
        lambda image: turned(image, right=0.004),
    ],
    ids=["people who walk", "dusk", "glare", "a shadow", "wind"],
)
def test_people_light_and_wind_do_not_move_a_camera(frames, reference, change):
    assert compare_scene(reference, seen(frames, change)).verdict == "same"


@pytest.mark.parametrize(
    "change",
    [
        lambda image: turned(image, right=0.02),
        lambda image: turned(image, down=-0.02),
        lambda image: turned(image, right=0.06, down=0.03),
        lambda image: turned(image, degrees=3.0),
        lambda image: turned(image, zoom=1.08),
        lambda image: cv2.flip(image, 1),
    ],
    ids=["a little to the side", "a little up", "far", "rolled", "zoomed", "somewhere else"],
)
def test_a_camera_that_looks_elsewhere_has_moved(frames, reference, change):
    assert compare_scene(reference, seen(frames, change)).verdict == "moved"


def test_the_dark_tells_nothing(frames, reference):
    assert compare_scene(reference, seen(frames, lambda image: (0.02 * image).astype(np.uint8))).verdict == "unclear"


def test_a_blank_wall_tells_nothing(frames, reference):
    blank = reference_of([Thumbnail(np.full_like(frames[0], 128), NOBODY)])
    assert compare_scene(blank, reference).verdict == "unclear"


@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_median_leaves_out_what_is_not_known(count):
    rng = np.random.default_rng(count)
    thumbnails = [Thumbnail(np.zeros((24, 320, 3), np.uint8), NOBODY) for _ in range(count)]
    for one in thumbnails:
        one.grey = rng.integers(0, 256, one.grey.shape).astype(np.float32)
        one.known = rng.random(one.grey.shape) < 0.5
    median, known = _median_of_known(thumbnails)
    masked = np.ma.median(
        np.ma.array([one.grey for one in thumbnails], mask=[~one.known for one in thumbnails]), axis=0
    )
    np.testing.assert_array_equal(median, masked.filled(0))
    np.testing.assert_array_equal(known, np.sum([one.known for one in thumbnails], axis=0))


def test_a_reference_keeps_no_brightness_and_nothing_of_people(frames):
    box = np.array([[300.0, 100.0, 400.0, 300.0]], np.float32)
    repainted = frames[0].copy()
    repainted[110:290, 310:390] = np.random.default_rng(0).integers(0, 255, (180, 80, 3))
    with_person, with_another = (reference_of([Thumbnail(image, box)]) for image in (frames[0], repainted))
    np.testing.assert_array_equal(with_person.codes, with_another.codes)
    assert set(np.unique(with_person.codes)) <= {*range(9), 255}


def test_a_watch_warns_once_and_says_when_the_camera_stands_as_before(frames, reference):
    watch = CameraWatch(reference)
    said = []
    for second in range(90):
        image = frames[second % len(frames)]
        away = 20 <= second < 55
        if watch.look(float(second), turned(image, right=0.05) if away else image, NOBODY):
            said.append((second, watch.moved))
    assert [moved for _, moved in said] == [True, False]
    assert 20 < said[0][0] < 40
    assert 55 < said[1][0] < 75


def test_a_lorry_that_stops_for_a_moment_is_no_movement(frames, reference):
    watch = CameraWatch(reference)
    for second in range(40):
        image = frames[second % len(frames)].copy()
        if 10 <= second < 14:
            image[100:, 50:600] = np.random.default_rng(second).integers(0, 255, image[100:, 50:600].shape)
        assert not watch.look(float(second), image, NOBODY)


def test_no_metres_are_claimed_while_the_camera_looks_elsewhere(frames, reference, tmp_path):
    height, width = frames[0].shape[:2]
    camera = camera_looking_down(width=width, height=height)
    save_camera(camera, tmp_path / "camera.yaml", reference=reference)
    pipeline = Pipeline(Config(calibration=tmp_path / "camera.yaml"), NoModel(), camera)
    feet = camera.ground_to_image(np.array([[0.0, 6.0], [1.0, 6.0]]))
    bbox = np.column_stack([feet - np.array([20.0, 150.0]), feet + np.array([20.0, 0.0])]).astype(np.float32)
    people = Detections(bbox, np.full(2, 0.9, np.float32))
    notices, measured, known, closed = [], [], [], []
    for index in range(60):
        image = frames[index % len(frames)]
        frame = Frame(turned(image, right=0.05) if index >= 20 else image, index, float(index))
        change = pipeline.watch(frame)
        notices += [change] if change else []
        result = pipeline.interpret(index, frame.time_s, people)
        measured.append(len(result.pairs))
        known.append(result.in_metres)
        closed += result.closed_events
    assert [ok for ok, _ in notices] == [False]
    assert "calibrate it again" in notices[0][1]
    assert measured[10] == 1
    assert measured[-1] == 0
    assert all(known[:20])
    assert known.count(False) == pipeline.moved_s  # a frame is a second
    assert len(closed) == 1  # the event ends with the claim
    assert 15 < pipeline.moved_s < 40
    again = Pipeline(Config(calibration=tmp_path / "camera.yaml"), NoModel(), camera)
    again.restore_following(*pipeline.following_state())
    assert again.camera_moved


def test_the_analysis_says_for_how_long_the_camera_looked_elsewhere(frames, tmp_path):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(tmp_path / "moved.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2.0, (width, height))
    for index in range(40):
        writer.write(turned(frames[index % len(frames)], right=0.06))
    writer.release()
    arguments = ["analyze", str(tmp_path / "moved.avi"), "--config", "config/demo.yaml", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    moved_s = json.loads((tmp_path / "out" / "summary.json").read_text())["camera_moved_s"]
    assert moved_s > 5
    said = f"or {moved_s:.1f} of 20.0 s the camera looked elsewhere than when it was calibrated: no distances"
    assert f"\nwarning: f{said}" in result.output
    assert f">F{said}" in (tmp_path / "out" / "report.html").read_text()


def test_a_camera_file_keeps_its_reference_and_comments(reference, tmp_path):
    path = tmp_path / "camera.yaml"
    save_camera(camera_looking_down(), path)
    path.write_text("# by the door\n" + path.read_text())
    assert load_reference(path) is None
    add_reference(path, reference)
    assert path.read_text().startswith("# by the door\n")
    np.testing.assert_array_equal(load_reference(path).codes, reference.codes)
    other = SceneReference(np.ones_like(reference.codes))
    add_reference(path, other)
    np.testing.assert_array_equal(load_reference(path).codes, other.codes)
    assert load_camera(path).image_width == 960


def test_a_damaged_reference_is_one_sentence(reference, tmp_path):
    path = tmp_path / "camera.yaml"
    save_camera(camera_looking_down(), path, reference=reference)
    path.write_text(path.read_text().replace("height: 120", "height: 60"))
    with pytest.raises(UserError, match="'reference' is damaged"):
        load_reference(path)


def test_the_command_puts_a_reference_into_a_camera_file(tmp_path):
    path = tmp_path / "camera.yaml"
    save_camera(camera_looking_down(), path)
    result = CliRunner().invoke(cli, ["calibrate", "reference", str(path), "--picture", str(Path(CLIP))])
    assert result.exit_code == 0, result.output
    assert "that will be noticed" in result.output
    assert load_reference(path) is not None

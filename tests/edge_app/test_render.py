from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from edge_app.records import Detections, FrameResult, GroundPoints, Pairs, Tracks
from edge_app.render import AnnotatedVideoWriter, BirdsEye, annotate, hide_people
from edge_app.render.labels import Labels
from edge_app.render.palette import PERSON, VIOLATION
from tests.edge_app.scenes import CAMERA, results_of


def noise(height=240, width=320):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize("mode", ["pixelate", "blur"])
@pytest.mark.parametrize("size", [(20, 50), (80, 200), (200, 230)])
def test_no_detail_of_a_person_is_left_whatever_its_size(mode, size):
    image = noise()
    width, height = size
    hidden = hide_people(image, boxes((40, 5, 40 + width, 5 + height)), mode)
    inside = hidden[5 : 5 + height, 40 : 40 + width].astype(float)
    few = cv2.resize(cv2.resize(inside, (12, 6), interpolation=cv2.INTER_AREA), (width, height))
    # All that is left can be told by 6 x 12 values: the noise of the picture, sigma 74, is gone.
    assert np.abs(inside - few).mean() < 20
    assert inside.std() < 40


def test_the_rest_of_the_picture_and_the_frame_itself_stay_as_they_are():
    image = noise()
    before = image.copy()
    hidden = hide_people(image, boxes((100, 100, 140, 180)), "pixelate")
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(hidden[:80], image[:80])
    np.testing.assert_array_equal(hidden[:, :90], image[:, :90])


@pytest.mark.parametrize(
    "row",
    [(0, 0, 1, 1), (319, 239, 320, 240), (-50, -50, 10, 10), (310, 200, 400, 300), (500, 500, 600, 600),
     (10, 10, 10, 10), (np.nan, 0, 5, 5), (0, 0, np.inf, 5), (50, 60, 40, 50), (0, 100, 320, 100.4)],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["pixelate", "blur"])
def test_boxes_at_and_over_the_border_never_fail(row, mode):
    assert hide_people(noise(), boxes(row), mode).shape == (240, 320, 3)


def test_a_person_cut_by_the_border_is_hidden_too():
    image = noise()
    hidden = hide_people(image, boxes((300, 180, 360, 300)), "pixelate")
    assert not np.array_equal(hidden[200:240, 305:320], image[200:240, 305:320])
    assert hidden[200:240, 305:320].std() < 40


def test_weak_detections_and_lost_tracks_are_hidden():
    result = FrameResult(
        0, 0.0,
        Detections(boxes((20, 40, 60, 140)), np.array([0.16], np.float32)),
        Tracks(np.array([1]), boxes((200, 40, 240, 140)), np.ones(1, np.float32), np.array([[220.0, 140.0]]),
               np.eye(2)[None], np.array([False])),
        GroundPoints(np.full((1, 2), np.nan), np.full((1, 2, 2), np.nan), np.array([False]), np.zeros((1, 0, 2))),
        Pairs.empty(), np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(0, np.int64),
    )  # fmt: skip
    picture = annotate(noise(), result, None, "pixelate")
    assert picture[60:130, 25:55].std() < 40
    assert picture[60:130, 205:235].std() < 40


def test_a_picture_claims_no_distances_while_the_calibration_does_not_hold(monkeypatch):
    said = []
    monkeypatch.setattr("edge_app.render.overlay._draw_header", lambda image, labels, text: said.append(text))
    birdseye = BirdsEye(CAMERA, (320, 240))
    for result in (results_of([[0.0, 6.0]])[-1], results_of([[0.0, 6.0]], camera=None)[-1]):
        annotate(noise(), result, birdseye, "pixelate")
    assert "0 too close in 0 pairs" in said[0]
    assert "no distances claimed" in said[1]


def test_people_are_shown_only_when_the_owner_says_so():
    image = noise()
    np.testing.assert_array_equal(hide_people(image, boxes((40, 40, 80, 140)), "show"), image)


def has_colour(image, colour):
    return bool((np.abs(image.astype(int) - colour).max(axis=2) < 12).any())


def test_violations_are_drawn_in_their_colour_and_only_then():
    picture = np.full((240, 320, 3), 128, np.uint8)
    birdseye = BirdsEye(CAMERA, (320, 240))
    near = results_of([[0.0, 6.0], [1.0, 6.0]])[-1]
    far = results_of([[-1.5, 6.0], [2.5, 6.0]])[-1]
    assert has_colour(annotate(picture, near, birdseye, "pixelate", inset=False), VIOLATION)
    calm = annotate(picture, far, birdseye, "pixelate", inset=False)
    assert has_colour(calm, PERSON)
    assert not has_colour(calm, VIOLATION)


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def assert_apart(placed):
    assert not [(one, other) for i, one in enumerate(placed) for other in placed[:i] if overlap(one, other)]


def test_labels_of_people_side_by_side_lie_apart_the_shortest_distance_first(monkeypatch):
    put, placed = Labels.put, {}

    def noted(self, text, *args):
        placed[text] = put(self, text, *args)
        return placed[text]

    monkeypatch.setattr(Labels, "put", noted)
    result = results_of([[0.0, 7.0], [0.5, 7.0], [1.1, 7.0]])[-1]
    annotate(np.full((480, 640, 3), 128, np.uint8), result, BirdsEye(CAMERA, (320, 240)), "pixelate", inset=False)
    assert list(placed) == ["0.5 m", "0.6 m", "1.1 m", "1", "2", "3"]
    assert None not in placed.values()
    assert_apart(list(placed.values()))


def test_a_label_without_a_free_place_is_left_out_and_none_is_under_the_header():
    image = np.full((240, 320, 3), 128, np.uint8)
    labels = Labels(image)
    labels.keep_free((0, 0, 320, 20))
    shifts = [(0, 0), (0, 1), (1, 0)]
    under = labels.put("1.0 m", 300, 25, VIOLATION, shifts)
    assert under is not None
    assert under[1] >= 20
    assert under[2] <= 320
    placed = [labels.put("1.0 m", 100, 60, VIOLATION, shifts) for _ in range(4)]
    assert placed[3] is None
    assert_apart(placed[:3])
    before = image.copy()
    assert labels.put("1.0 m", 100, 60, VIOLATION, shifts) is None
    np.testing.assert_array_equal(image, before)


def test_the_birdseye_view_puts_people_where_they_stand():
    birdseye = BirdsEye(CAMERA, (320, 240))
    left = birdseye.render(results_of([[-2.0, 8.0]])[-1], (300, 300))
    right = birdseye.render(results_of([[2.0, 8.0]])[-1], (300, 300))
    near = birdseye.render(results_of([[0.0, 5.0]])[-1], (300, 300))

    def centre(plan):
        ys, xs = np.nonzero(np.abs(plan.astype(int) - PERSON).max(axis=2) < 12)
        return xs.mean(), ys.mean()

    assert centre(left)[0] < centre(right)[0]
    assert centre(near)[1] > centre(left)[1]  # nearer to the camera is lower in the plan
    metre = (centre(right)[0] - centre(left)[0]) / 4.0
    assert centre(near)[1] - centre(left)[1] == pytest.approx(3.0 * metre, rel=0.1)


def test_an_uncalibrated_picture_says_that_no_distance_is_claimed():
    result = results_of([[0.0, 6.0], [1.0, 6.0]], camera=None)[-1]
    plain = np.full((240, 320, 3), 128, np.uint8)
    picture = annotate(plain, result, None, "pixelate")
    assert not has_colour(picture, VIOLATION)


@pytest.mark.parametrize("size", [(1200, 250), (320, 60), (300, 30)])
def test_a_panoramic_picture_has_as_much_of_the_plan_as_fits(size):
    width, height = size
    result = results_of([[0.0, 6.0], [1.0, 6.0]])[-1]
    picture = annotate(noise(height, width), result, BirdsEye(CAMERA, (320, 240)), "pixelate")
    assert picture.shape == (height, width, 3)


@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_a_video_is_complete_or_not_there(tmp_path, monkeypatch, with_ffmpeg):
    if with_ffmpeg and shutil.which("ffmpeg") is None:
        pytest.skip("FFmpeg is not installed")
    if not with_ffmpeg:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "annotated.mp4"
    with AnnotatedVideoWriter(path, (65, 47), 7.5) as writer:
        for _ in range(15):
            writer.write(noise(47, 65))
        assert not path.exists()
    assert writer.codec == ("h264" if with_ffmpeg else "mpeg4")
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    assert count == 15
    with pytest.raises(ValueError, match="stop"), AnnotatedVideoWriter(tmp_path / "other.mp4", (64, 48), 7.0) as writer:
        writer.write(noise(48, 64))
        raise ValueError("stop")
    assert {item.name for item in tmp_path.iterdir()} == {"annotated.mp4"}

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.config import DEFAULT_MODEL
from edge_app.errors import UserError
from edge_app.records import Detections
from training.cli import cli
from training.evaluation.labelled_pictures import LabelledPictures, load_labelled_pictures
from training.evaluation.metrics import (
    PictureMatches,
    average_precision,
    best_f1,
    bootstrap_interval,
    evaluate_detector,
    recall_at_precision,
)
from training.evaluation.predictors import load_predictor
from training.scene_evaluation.scene_files import read_ignore_regions

PETS = Path("../shared/data/pets")


def labelled(folder, boxes_of_pictures, **extra):
    """Write a COCO set with the given boxes (x, y, width, height) in 200x150 pictures and load it."""
    images, annotations = [], []
    for number, boxes in enumerate(boxes_of_pictures, start=1):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((150, 200, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 200, "height": 150})
        for box in boxes:
            crowd = int(len(box) == 5)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": list(box[:4]),
                    "iscrowd": crowd,
                }
            )
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}], **extra}
    (folder / "labels.json").write_text(json.dumps(coco))
    return load_labelled_pictures(folder)


def finder(boxes_of_pictures):
    """A detector that knows the picture by its grey and gives fixed (x, y, width, height, score)."""

    def predict(image):
        rows = np.array(boxes_of_pictures[int(image[0, 0, 0]) - 1], np.float32).reshape(-1, 5)
        return Detections(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 4])

    return predict


def test_perfect_boxes_score_one(tmp_path):
    truth = [[(10, 10, 20, 50)], [(50, 30, 25, 70), (120, 20, 20, 60)]]
    data = labelled(tmp_path, truth)
    scores = evaluate_detector(finder([[(*box, 0.9) for box in boxes] for boxes in truth]), data, block=1).scores
    assert (scores.ap, scores.ap50, scores.ap75, scores.ap50_all_points) == (1.0, 1.0, 1.0, 1.0)
    assert (scores.pictures, scores.people) == (2, 3)


def test_a_miss_and_a_false_box_are_counted_as_worked_out_by_hand(tmp_path):
    data = labelled(tmp_path, [[(10, 10, 20, 50)], [(50, 30, 25, 70)]])
    found = [[(10, 10, 20, 50, 0.9), (150, 10, 20, 50, 0.95)], []]
    scores = evaluate_detector(finder(found), data, block=1).scores
    # best score is wrong, second is right: precision 1/2 at recall 1/2
    assert scores.ap50_all_points == pytest.approx(0.25)


def test_ignored_regions_punish_nobody(tmp_path):
    data = labelled(tmp_path, [[(10, 10, 20, 50), (100, 0, 90, 100, "crowd")]])
    found = [[(10, 10, 20, 50, 0.8), (110, 20, 20, 60, 0.9), (150, 20, 20, 60, 0.9)]]
    scores = evaluate_detector(finder(found), data, block=1).scores
    assert scores.ap50 == pytest.approx(1.0)
    assert scores.people == 1


def test_people_whom_the_labels_leave_out_by_rule_punish_nobody(tmp_path):
    found = [[(60, 60, 20, 50, 0.7), (10, 5, 20, 50, 0.9), (180, 60, 20, 50, 0.8)]]
    strict = labelled(tmp_path, [[(60, 60, 20, 50)]])
    assert evaluate_detector(finder(found), strict, block=1).scores.ap50_all_points == pytest.approx(1 / 3)
    lenient = labelled(tmp_path, [[(60, 60, 20, 50)]], ignore_rects_foot=[[0, 0, 50, 60]])
    assert evaluate_detector(finder(found), lenient, block=1).scores.ap50_all_points == 1.0


def test_both_evaluations_read_the_same_rectangles_to_ignore(tmp_path):
    rects = [[20, 30, 100, 40]]
    data = labelled(tmp_path, [[(60, 60, 20, 50)]], ignore_rects_foot=rects)
    np.testing.assert_array_equal(data.ignore_rects_foot, [[20, 30, 120, 70]])
    np.testing.assert_array_equal(read_ignore_regions(tmp_path / "labels.json").foot_rects, data.ignore_rects_foot)
    with pytest.raises(UserError, match=r"'ignore_rects_foot' is not a list of \[x, y, width, height\]; correct it"):
        labelled(tmp_path, [[(60, 60, 20, 50)]], ignore_rects_foot=[[20, 30]])


def test_heights_are_measured_in_a_300_row_picture(tmp_path):
    # 12, 20 and 40 rows of 150 are 24, 40 and 80 of 300
    data = labelled(tmp_path, [[(10, 10, 10, 12), (50, 10, 10, 20), (90, 10, 20, 40)]])
    found = [[(10, 10, 10, 12, 0.9), (90, 10, 20, 40, 0.8)]]
    bands = evaluate_detector(finder(found), data, block=1).scores.by_height
    assert {name: row["people"] for name, row in bands.items()} == {
        "under 32": 1, "32 to 64": 1, "64 to 128": 1, "over 128": 0,
    }  # fmt: skip
    found_part = [bands[name]["ap50"] for name in ("under 32", "32 to 64", "64 to 128")]
    assert found_part == pytest.approx([1.0, 0.0, 1.0])


def matches(*right):
    return PictureMatches(np.linspace(0.9, 0.1, len(right)), np.array(right, bool), 2)


def test_average_precision_is_the_area_under_the_envelope():
    # right, wrong, right of 4 people: precision 1, 1/2, 2/3 -> (1 + 2/3) / 4
    one = PictureMatches(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 4)
    assert average_precision([one]) == pytest.approx((1 + 2 / 3) / 4)


def test_the_interval_is_wider_when_neighbours_are_alike():
    rng = np.random.default_rng(0)
    good = rng.random(20) < 0.5
    alike = [matches(True, True) if good[index // 10] else matches(False, False) for index in range(200)]
    low_1, high_1 = bootstrap_interval(alike, 1)
    low_10, high_10 = bootstrap_interval(alike, 10)
    assert high_10 - low_10 > 1.5 * (high_1 - low_1)
    assert low_10 <= average_precision(alike) <= high_10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "are not JSON"),
        ("[]", "are not COCO JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "hold no pictures"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "hold no boxes"),
        (
            '{"images": [{"id": 1}], "annotations": [{}], "categories": [{"id": 1, "name": "dog"}]}',
            "0 categories 'person'",
        ),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path, text, said):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=said):
        load_labelled_pictures(tmp_path / "labels.json")


def test_a_missing_picture_is_named(tmp_path):
    data = labelled(tmp_path, [[(10, 10, 20, 50)]])
    (tmp_path / "1.png").unlink()
    with pytest.raises(UserError, match=r"1\.png is missing or cannot be read"):
        evaluate_detector(finder([[]]), data, block=1)


def test_a_model_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none of \.tflite, \.keras and \.pb"):
        load_predictor(tmp_path / "model.onnx")


def test_keras_frozen_graph_and_tflite_agree(frozen_graph, pretrained_model, street_frame, tmp_path):
    pretrained_model.save(tmp_path / "model.keras")
    graph = load_predictor(frozen_graph)(street_frame)
    keras = load_predictor(tmp_path / "model.keras")(street_frame)
    np.testing.assert_allclose(graph.bbox, keras.bbox, atol=0.01)
    np.testing.assert_allclose(graph.score, keras.score, atol=1e-4)
    words = ["export", "--weights", str(tmp_path / "model.keras"), "--out", str(tmp_path / "model.tflite")]
    assert CliRunner().invoke(cli, words).exit_code == 0
    device = load_predictor(tmp_path / "model.tflite")(street_frame)
    for box in graph.bbox[graph.score > 0.5]:
        assert np.abs(device.bbox - box).max(axis=1).min() < 0.5


@pytest.mark.skipif(not PETS.exists(), reason="../shared/data is not here")
def test_the_released_int8_model_is_better_than_the_frozen_graph_on_pets(frozen_graph):
    data = load_labelled_pictures(PETS / "labels.json", PETS / "vtest.avi")
    released = evaluate_detector(load_predictor(DEFAULT_MODEL), data, block=14).scores
    pretrained = evaluate_detector(load_predictor(frozen_graph), data, block=14).scores
    assert released.ap50_all_points > pretrained.ap50_all_points
    assert released.ap > 1.3 * pretrained.ap


def test_recall_at_a_precision_is_that_of_the_best_threshold():
    # right, right, wrong, right of 5 people: precision 1, 1, 2/3, 3/4
    one = PictureMatches(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 5)
    assert recall_at_precision([one], 0.9) == pytest.approx(2 / 5)
    assert recall_at_precision([one], 0.75) == pytest.approx(3 / 5)
    assert recall_at_precision([matches(False, False)], 0.9) == 0.0


def test_the_best_f1_names_its_threshold():
    # After 4: 3 right of 4 found, 5 to find: F1 = 6 / 9. After 2: 4 / 7.
    one = PictureMatches(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 5)
    assert best_f1([one]) == pytest.approx((6 / 9, 0.6))


def test_a_part_of_a_video_keeps_its_own_labels():
    coco = {
        "images": [{"id": number, "frame": number, "file_name": ""} for number in (1, 6, 11)],
        "annotations": [{"id": number, "image_id": number, "category_id": 1} for number in (1, 6, 11)],
        "categories": [],
    }
    data = LabelledPictures(coco, Path(), None, 1, np.zeros((0, 4)))
    part = data.within(2, 11)
    assert [record["id"] for record in part.coco["images"]] == [6, 11]
    assert [entry["image_id"] for entry in part.coco["annotations"]] == [6, 11]
    with pytest.raises(UserError, match="no frame from 12 to 20"):
        data.within(12, 20)

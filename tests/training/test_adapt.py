from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import training.adapt.adapt as module
from edge_app.errors import UserError
from edge_app.records import Detections, Frame
from tests.edge_app.videos import write_video
from training.adapt.adapt import Footage, evenly_spread, footage_labels, with_site
from training.adapt.label_files import reviewed_labels, write_labels
from training.adapt.teacher import SiteLabels, _spans, detect_on_tiles, label_frames, site_labels
from training.cli import cli
from training.evaluation.metrics import PictureMatches, paired_difference
from training.prepare.readers import read_source
from training.prepare.records import Problems
from training.train_config import DataSetConfig, TrainConfig

PERSON = (90, 200, 30)


def find_blobs(image, smallest=0.0, score=0.9):
    """A detector that finds the painted people that are at least ``smallest`` of the picture's height."""
    mask = (image == np.array(PERSON)).all(axis=2).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    rows = [row for row in stats[1:count] if row[3] >= smallest * image.shape[0]]
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), score, np.float32))


def scene(*corners, size=(480, 640)):
    image = np.zeros((*size, 3), np.uint8)
    for x, y in corners:
        image[y : y + 60, x : x + 20] = PERSON
    return image


def test_tiles_find_people_that_are_too_small_for_the_whole_picture_each_once():
    image = scene((30, 30), (300, 200), (600, 400), (330, 210))
    assert len(detect_on_tiles(lambda part: find_blobs(part, 0.2), image, 1, 1)) == 0
    found = detect_on_tiles(lambda part: find_blobs(part, 0.2), image, 3, 3)
    assert sorted(found.bbox[:, :2].tolist()) == [[30, 30], [300, 200], [330, 210], [600, 400]]


def test_spans_overlap_and_cover_everything():
    spans = _spans(768, 3)
    assert spans[0][0] == 0
    assert spans[-1][1] == 768
    for (_, end), (start, _) in zip(spans, spans[1:]):
        assert 0.3 * (spans[0][1] - spans[0][0]) < end - start


def test_a_gap_of_a_track_is_filled_and_a_flicker_is_ignored():
    """Somebody walks right, unseen in frames 10 to 12; something weak shows up once."""
    frames, shown = [], []
    for index in range(20):
        image = scene((100 + 4 * index, 200))
        frames.append(Frame(index=index, time_s=index / 10, image=image))
        shown.append(find_blobs(image))
        if 10 <= index <= 12:
            shown[-1] = shown[-1][np.zeros(1, bool)]
        if index == 5:
            weak = Detections(np.array([[400, 100, 420, 160]], np.float32), np.array([0.3], np.float32))
            shown[-1] = Detections(
                np.concatenate([shown[-1].bbox, weak.bbox]), np.concatenate([shown[-1].score, weak.score])
            )
    pending = iter(shown)
    labelled = list(label_frames(frames, lambda _: next(pending), 1, 1))
    labels = site_labels([f.time_s for f, _, _ in labelled], [d for _, d, _ in labelled], [o for _, _, o in labelled])
    assert [len(item.boxes) for item in labels] == [1] * 20
    np.testing.assert_allclose(labels[11].boxes[0], [144, 200, 164, 260], atol=1.0)
    assert labels[11].score[0] == 0.5
    np.testing.assert_allclose(labels[5].ignored, [[400, 100, 420, 160]])
    assert sum(len(item.ignored) for item in labels) == 1


def test_labels_for_review_come_back_from_both_formats(tmp_path):
    labels = SiteLabels(np.array([[10.0, 20, 30, 80]]), np.array([0.8]), np.array([[100.0, 100, 150, 700]]))
    coco = write_labels(tmp_path, [("000001", scene((10, 20)), labels)], "yard.mp4", {})
    for path in (coco, tmp_path / "cvat.xml"):
        problems = Problems()
        (picture,) = read_source(path, problems)
        assert not problems.counts
        np.testing.assert_allclose(picture.boxes, [[10, 20, 20, 60]])
        # cut to the picture, which is 480 high
        np.testing.assert_allclose(picture.ignored, [[100, 100, 50, 380]])
        assert picture.path.is_file()
    reviewed = json.loads(reviewed_labels(tmp_path / "cvat.xml", tmp_path / "again").read_text())
    assert [(entry["bbox"], entry["iscrowd"]) for entry in reviewed["annotations"]] == [
        ([10, 20, 20, 60], 0),
        ([100, 100, 50, 380], 1),
    ]


def test_reviewed_labels_without_anybody_are_refused(tmp_path):
    labels = SiteLabels(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)))
    coco = write_labels(tmp_path, [("000001", scene(), labels)], "yard.mp4", {})
    with pytest.raises(UserError, match="hold no person"):
        reviewed_labels(coco, tmp_path / "again")


def test_the_site_has_its_part_of_the_training(tmp_path):
    general = (DataSetConfig(labels=tmp_path / "a", weight=0.5), DataSetConfig(labels=tmp_path / "b", weight=1.0))
    config = with_site(TrainConfig(train=general), tmp_path / "site.json", tmp_path / "m.keras", 0.4)
    weights = [item.weight for item in config.train]
    assert weights[-1] / sum(weights) == pytest.approx(0.4)
    assert config.fine_tune_checkpoint == (tmp_path / "m.keras").resolve()


def test_a_paired_difference_is_that_of_the_figures_and_its_interval_knows_the_pairs():
    rng = np.random.default_rng(0)
    good, worse = [], []
    for _ in range(60):
        people = int(rng.integers(0, 6))
        score = rng.uniform(0.5, 1, people)
        good.append(PictureMatches(score, np.ones(people, bool), people))
        keep = rng.uniform(size=people) < 0.9
        worse.append(PictureMatches(score[keep], np.ones(int(keep.sum()), bool), people))
    difference, (low, high) = paired_difference(worse, good, block=5)
    found = sum(len(item.score) for item in worse) / sum(item.people for item in worse)
    assert difference == pytest.approx(found - 1)
    assert low < difference < high < 0
    assert high - low < 0.15
    assert paired_difference(good, good, block=5) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize(("wanted", "length"), [(150, 299), (10, 19), (10, 5), (3, 7), (1, 1)])
def test_pictures_are_spread_evenly_and_no_more_than_wanted(wanted, length):
    indices = evenly_spread(wanted, length)
    assert len(indices) == min(wanted, length)
    assert indices[-1] < length
    gaps = np.diff(indices)
    assert all(gap in (length // len(indices), -(-length // len(indices))) for gap in gaps)


@pytest.fixture
def footage(tmp_path, monkeypatch):
    """Footage of 19 frames, and weights of a teacher that sees one person in each."""
    seen = Detections(np.array([[10, 5, 25, 40]], np.float32), np.array([0.9], np.float32))
    monkeypatch.setattr(module, "load_predictor", lambda weights: lambda image: seen)
    (tmp_path / "teacher.keras").write_bytes(b"weights")
    return Footage(write_video(tmp_path / "yard.avi", frames=19), None, 1, None, 10, (1, 1)), tmp_path / "teacher.keras"


def test_footage_gives_no_more_pictures_than_wanted(footage, tmp_path):
    labels = json.loads(footage_labels(*footage, tmp_path / "labels").read_text())
    assert len(labels["images"]) == 10
    assert all((tmp_path / "labels" / image["file_name"]).is_file() for image in labels["images"])


def test_labels_of_the_same_footage_are_used_again(footage, tmp_path, monkeypatch):
    path = footage_labels(*footage, tmp_path / "labels")
    content = path.read_bytes()
    monkeypatch.setattr(module, "load_predictor", None)
    moved = replace(footage[0], video=footage[0].video.rename(tmp_path / "moved.avi"))
    assert footage_labels(moved, footage[1], tmp_path / "labels").read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "weights", "said"),
    [
        ({"first": 2}, "teacher.keras", "--first"),
        ({"last": 9, "tiles": (2, 1)}, "teacher.keras", "--last, --tiles"),
        ({"video": Path("other.avi")}, "teacher.keras", "--video"),
        ({}, "other.keras", "--weights"),
    ],
)
def test_labels_of_other_footage_or_another_teacher_are_refused(footage, tmp_path, monkeypatch, changes, weights, said):
    footage_labels(*footage, tmp_path / "labels")
    write_video(tmp_path / "other.avi", frames=18)
    (tmp_path / "other.keras").write_bytes(b"others")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"made with another {said}; give another --out or remove"):
        footage_labels(replace(footage[0], **changes), Path(weights), tmp_path / "labels")


def test_labels_of_an_earlier_version_are_used(footage, tmp_path):
    path = footage_labels(*footage, tmp_path / "labels")
    content = json.loads(path.read_text())
    del content["info"]["made_from"]
    path.write_text(json.dumps(content))
    assert footage_labels(replace(footage[0], first=2), footage[1], tmp_path / "labels") == path
    path.write_text("[]")
    with pytest.raises(UserError, match=r"is not COCO JSON .*; remove it to label again"):
        footage_labels(*footage, tmp_path / "labels")


def test_footage_that_is_not_there_is_named(footage, tmp_path):
    with pytest.raises(UserError, match=r"--video nowhere\.avi does not exist"):
        footage_labels(replace(footage[0], video=Path("nowhere.avi")), footage[1], tmp_path / "labels")


def test_the_command_does_not_use_labels_of_another_part_of_the_footage(footage, tmp_path):
    (tmp_path / "train.yaml").write_text("train: [{labels: set}]")
    part, weights = footage
    arguments = ["adapt", "--video", part.video, "--weights", weights, "--config", tmp_path / "train.yaml"]
    arguments += ["--out", tmp_path / "out", "--label-only", "--pictures", "10"]
    result = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert "10 pictures" in result.stdout
    with pytest.raises(UserError, match=r"made with another --first, --last; give another --out"):
        CliRunner().invoke(cli, [*map(str, arguments), "--first", "3", "--last", "15"], catch_exceptions=False)

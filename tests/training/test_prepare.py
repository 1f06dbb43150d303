from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.errors import UserError
from tests.edge_app.videos import write_video
from training.cli import cli
from training.prepare.checks import CheckedPicture, check_pictures, clean_boxes, difference_hash
from training.prepare.readers import read_source
from training.prepare.records import Problems
from training.prepare.split import split_pictures
from training.prepare.tfrecord import read_shards, write_shards

# One picture of 100 x 80 with one person at x 10, y 20, 30 wide, 40 high, told in every format.
BOX = [10.0, 20.0, 30.0, 40.0]


def picture(path, shade=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(shade).integers(0, 255, (80, 100, 3)).astype(np.uint8)
    cv2.imwrite(str(path), image)


def make_coco(folder):
    picture(folder / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": BOX, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [0, 0, 5, 5], "iscrowd": 0},
            {"id": 3, "image_id": 8, "category_id": 3, "bbox": BOX, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "Person"}, {"id": 4, "name": "dog"}],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder, {"box of an unknown picture": 1}


def make_voc(folder):
    picture(folder / "JPEGImages" / "a.png")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(
        "<annotation><filename>a.png</filename><object><name>person</name><difficult>0</difficult><bndbox><xmin>11</xmin>"
        "<ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>"
    )
    return folder, {}


def make_yolo(folder):
    picture(folder / "images" / "a.png")
    picture(folder / "images" / "b.png")
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.25 0.5 0.3 0.5\n5 0.5 0.5 0.1 0.1\n")
    return folder, {"picture without a label file": 1}


def make_mot(folder):
    picture(folder / "img1" / "000001.png")
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("1,4,11,21,30,40,1,1,1\n9,4,11,21,30,40,1,1,1\n")
    return folder, {"labels of a frame without a picture": 1}


def make_cvat(folder):
    picture(folder / "a.png")
    path = folder / "annotations.xml"
    path.write_text(
        '<annotations><image id="0" name="a.png"><box label="person" xtl="10" ytl="20" xbr="40" ybr="60"/></image>'
        "</annotations>"
    )
    return path, {}


def make_town_centre(folder):
    write_video(folder / "street.avi", frames=5, width=100, height=80)
    path = folder / "street.top"
    path.write_text("0,2,1,1,0,0,1,1,10.0,20.0,40.0,60.0\n1,2,1,0,0,0,1,1,1,1,5,5\n")
    return path, {"body marked as not valid": 1}


@pytest.mark.parametrize("make", [make_coco, make_voc, make_yolo, make_mot, make_cvat, make_town_centre])
def test_every_format_gives_the_same_person(tmp_path, make):
    source, expected = make(tmp_path)
    problems = Problems()
    found = list(check_pictures(read_source(source, problems), problems))
    assert len(found) == 1
    np.testing.assert_allclose(found[0].boxes, [BOX], atol=1e-6)
    assert (found[0].width, found[0].height) == (100, 80)
    assert dict(problems.counts) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.json", "{}", "is not COCO JSON"),
        ("x.xml", "<a", "not well-formed XML"),
        ("x.xml", "<annotations/>", "holds no pictures"),
        ("x.top", "1,2\n", "one video of the same name"),
        ("x.csv", "", "of no known format"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read_source(tmp_path / name, Problems())


def test_a_coco_set_with_a_broken_entry_names_it(tmp_path):
    source, _ = make_coco(tmp_path)
    whole = json.loads((source / "labels.json").read_text())
    annotation = {"id": 5, "image_id": 7, "category_id": 3, "bbox": BOX[:3]}
    broken = [
        ({"annotations": [annotation]}, r"labels\.json annotation 5 has 3 numbers, not 4; correct it"),
        ({"images": [{"id": 7}]}, r"labels\.json image 7 has no 'file_name'; add it"),
        ({"images": [{"file_name": "a.png"}]}, "is not COCO JSON"),
        ({"annotations": ["box"]}, "'annotations' is not a list of objects"),
    ]
    for change, said in broken:
        (source / "labels.json").write_text(json.dumps({**whole, **change}))
        with pytest.raises(UserError, match=said):
            read_source(source, Problems())


@pytest.mark.parametrize(
    ("make", "name", "line", "said"),
    [
        (make_yolo, "labels/a.txt", b"0 0.25 0.5 0.3", r"a\.txt line 1 has 3 numbers, not 4; correct it"),
        (make_yolo, "labels/a.txt", b"\xff", r"a\.txt cannot be read as text; restore it"),
        (make_mot, "gt/gt.txt", b"1,4,11", r"gt\.txt line 1 has 3 numbers, not 7; correct it"),
        (make_mot, "gt/gt.txt", b"nan,4,11,21,30,40,1", r"gt\.txt line 1 has the frame nan, which is no whole number"),
        (make_town_centre, "street.top", b"0,2,1", r"street\.top line 1 has 3 numbers, not 12; correct it"),
    ],
)
def test_a_broken_line_is_named_with_its_file(tmp_path, make, name, line, said):
    source, _ = make(tmp_path)
    (tmp_path / name).write_bytes(line)
    with pytest.raises(UserError, match=said):
        read_source(source, Problems())


def test_a_picture_of_motchallenge_without_a_frame_number_is_named(tmp_path):
    source, _ = make_mot(tmp_path)
    picture(tmp_path / "img1" / "frame_1.jpg")
    with pytest.raises(UserError, match=r"frame_1\.jpg is not named after its frame; name it like 000001\.jpg"):
        read_source(source, Problems())


def test_a_file_as_out_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"out cannot be written .*; give another --out"):
        CliRunner().invoke(cli, ["prepare", "--out", str(tmp_path / "out"), "nowhere"], catch_exceptions=False)


def test_bad_boxes_are_repaired_or_left_out_and_counted():
    problems = Problems()
    boxes = np.array([[10, 10, 20, 30], [10.2, 10, 20, 30], [-5, 10, 20, 30], [50, 50, 0, 9], [200, 10, 20, 20]], float)
    clean = clean_boxes(boxes, 100, 80, "a.png", problems)
    np.testing.assert_allclose(clean, [[10, 10, 20, 30], [0, 10, 15, 30]])
    assert dict(problems.counts) == {
        "duplicate box left out": 1,
        "box cut to the picture": 2,
        "degenerate box left out": 1,
        "box outside the picture or too small left out": 1,
    }
    assert "a.png box 4" in str(problems)


def test_an_unreadable_picture_is_counted_and_named(tmp_path):
    source, _ = make_coco(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    problems = Problems()
    assert list(check_pictures(read_source(source, problems), problems)) == []
    assert problems.counts["picture missing or unreadable"] == 1
    assert "a.png" in str(problems)


def checked(number, scene, fingerprint=None):
    mark = int(np.random.default_rng(number).integers(0, 2**63)) if fingerprint is None else fingerprint
    return CheckedPicture(f"{number}.png", scene, b"", 9, 9, np.zeros((0, 4)), np.zeros((0, 4)), mark)


def test_whole_scenes_are_held_out():
    pictures = [checked(number, f"scene {number // 10}") for number in range(100)]
    train, held_out, left_out = split_pictures(pictures, 0.2, seed=3)
    assert len(held_out) == 20
    assert {picture.scene for picture in train}.isdisjoint(picture.scene for picture in held_out)
    assert left_out == 0
    assert split_pictures(pictures, 0.2, seed=3)[1] == held_out


def test_one_scene_is_split_in_time_with_a_gap():
    pictures = [checked(number, "one") for number in range(100)]
    train, held_out, left_out = split_pictures(pictures, 0.2, seed=0)
    assert [picture.name for picture in held_out] == [f"{number}.png" for number in range(80, 100)]
    assert train[-1].name == "74.png"
    assert left_out == 5


def test_training_pictures_that_look_like_held_out_ones_are_left_out():
    pictures = [checked(1, "a", 0b1111), checked(2, "a", 2**40 - 1), checked(3, "b", 0b1011)]
    train, held_out, left_out = split_pictures(pictures, 0.34, seed=0)
    if held_out[0].scene == "b":
        assert [picture.name for picture in train] == ["2.png"]
    else:
        assert train == []
    assert left_out >= 1


def test_near_duplicates_have_near_fingerprints():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), (320, 240))
    brighter = np.clip(image.astype(int) + 12 + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    other = cv2.resize(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), (320, 240))
    assert (difference_hash(image) ^ difference_hash(brighter)).bit_count() <= 4
    assert (difference_hash(image) ^ difference_hash(other)).bit_count() > 12


def test_records_come_back_as_they_were_written(tmp_path):
    source, _ = make_coco(tmp_path)
    pictures = list(check_pictures(read_source(source, Problems()), Problems())) * 5
    paths = write_shards({"train": pictures}, tmp_path, per_shard=2)
    assert [path.name for path in paths] == [f"train-{index:05d}-of-00003.tfrecord" for index in range(3)]
    examples = read_shards(paths)
    assert len(examples) == 5
    np.testing.assert_allclose(examples[0].boxes, [[20 / 80, 10 / 100, 60 / 80, 40 / 100]], atol=1e-6)
    assert examples[0].decode().shape == (80, 100, 3)


def test_records_of_an_earlier_call_do_not_mix_with_new_ones(tmp_path):
    source, _ = make_coco(tmp_path)
    pictures = list(check_pictures(read_source(source, Problems()), Problems())) * 5
    (tmp_path / "train-mine.tfrecord").write_bytes(b"")
    write_shards({"train": pictures, "validation": pictures}, tmp_path, per_shard=2)
    [path] = write_shards({"train": pictures[:2], "validation": []}, tmp_path, per_shard=2)
    assert path.name == "train-00000-of-00001.tfrecord"
    assert sorted(tmp_path.glob("*.tfrecord")) == [path, tmp_path / "train-mine.tfrecord"]
    assert not (tmp_path / "unfinished").exists()


def test_records_of_an_earlier_call_stay_until_the_new_ones_are_written(tmp_path):
    source, _ = make_coco(tmp_path)
    pictures = list(check_pictures(read_source(source, Problems()), Problems()))
    paths = write_shards({"train": pictures * 2, "validation": pictures}, tmp_path, per_shard=1)
    with pytest.raises(AttributeError):
        write_shards({"train": pictures, "validation": [None]}, tmp_path)
    assert sorted(tmp_path.glob("*.tfrecord")) == paths
    assert len(read_shards(paths)) == 3


def test_a_damaged_record_file_is_one_sentence(tmp_path):
    source, _ = make_coco(tmp_path)
    [path] = write_shards({"train": list(check_pictures(read_source(source, Problems()), Problems()))}, tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="is damaged after record 0"):
        read_shards([path])
    with pytest.raises(UserError, match="does not exist; make it with 'prepare'"):
        read_shards([tmp_path / "none.tfrecord"])

"""Readers of annotation formats. Each gives pictures with people and says which records it could not use."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray
from training.prepare.records import LabelledPicture, Problems

_PERSON_NAMES = {"person", "pedestrian", "people", "human"}
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")


def read_source(source: Path, problems: Problems) -> list[LabelledPicture]:
    """Read a labelled set of any known format, told by its files.

    COCO JSON (a .json file or a folder with labels.json), Pascal VOC (a folder with Annotations/*.xml), YOLO (a folder
    with images/ and labels/), MOTChallenge (a folder with gt/gt.txt and img1/), CVAT for images 1.1 (an .xml file) and
    Oxford Town Centre (a .top file beside a video of the same name).

    Raises:
        UserError: the source is missing or of no known format, or a file in it is broken beyond use.
    """
    if not source.exists():
        raise UserError(f"source {source} does not exist; check the path")
    by_ending = {".json": _coco, ".top": _town_centre, ".xml": _cvat}.get(source.suffix)
    if by_ending is not None and source.is_file():
        return list(by_ending(source, problems))
    if source.is_dir():
        if (source / "labels.json").is_file():
            return list(_coco(source / "labels.json", problems))
        if (source / "gt" / "gt.txt").is_file():
            return list(_mot(source, problems))
        if (source / "Annotations").is_dir():
            return list(_voc(source, problems))
        if (source / "labels").is_dir() and (source / "images").is_dir():
            return list(_yolo(source, problems))
    raise UserError(
        f"source {source} is of no known format; give COCO JSON, Pascal VOC, YOLO, MOTChallenge, CVAT XML or a .top "
        "file"
    )


def _coco(path: Path, problems: Problems) -> Iterator[LabelledPicture]:
    try:
        coco: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        people = {entry["id"] for entry in coco["categories"] if entry["name"].lower() in _PERSON_NAMES}
        images, annotations = _objects(coco, "images"), _objects(coco, "annotations")
        known = {record["id"] for record in images}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{path} is not COCO JSON ({type(error).__name__}: {error}); correct it") from error
    if not people:
        raise UserError(f"{path} has no category 'person'; name it so")
    boxes: dict[Any, list[list[float]]] = {}
    crowds: dict[Any, list[list[float]]] = {}
    for entry in annotations:
        where = f"{path} annotation {entry.get('id')}"
        if entry.get("category_id") not in people:
            continue
        if entry.get("image_id") not in known:
            problems.add("box of an unknown picture", where)
            continue
        target = crowds if entry.get("iscrowd") else boxes
        target.setdefault(entry["image_id"], []).append(_numbers(entry.get("bbox"), 4, where))
    for record in images:
        if not isinstance(record.get("file_name"), str):
            raise UserError(f"{path} image {record['id']} has no 'file_name'; add it")
        yield LabelledPicture(
            path.parent / record["file_name"],
            str(record.get("scene", path.parent.name)),
            _rows(boxes.get(record["id"])),
            _rows(crowds.get(record["id"])),
            time_s=record.get("time_s"),
        )


def _voc(folder: Path, problems: Problems) -> Iterator[LabelledPicture]:
    for path in sorted((folder / "Annotations").glob("*.xml")):
        root = _xml(path)
        name = root.findtext("filename")
        if not name:
            problems.add("annotation without a picture name", str(path))
            continue
        boxes: list[list[float]] = []
        ignored: list[list[float]] = []
        for number, item in enumerate(root.iter("object"), start=1):
            if (item.findtext("name") or "").lower() not in _PERSON_NAMES:
                continue
            corners = [item.findtext(f"bndbox/{part}") for part in ("xmin", "ymin", "xmax", "ymax")]
            left, top, right, bottom = _numbers(corners, 4, f"{path} object {number}")
            # VOC counts pixels from 1 and includes the last one.
            row = [left - 1, top - 1, right - left + 1, bottom - top + 1]
            (ignored if item.findtext("difficult") == "1" else boxes).append(row)
        yield LabelledPicture(folder / "JPEGImages" / name, folder.name, _rows(boxes), _rows(ignored))


def _yolo(folder: Path, problems: Problems) -> Iterator[LabelledPicture]:
    for path in sorted((folder / "images").rglob("*")):
        if path.suffix.lower() not in _PICTURE_ENDINGS:
            continue
        labels = (folder / "labels" / path.relative_to(folder / "images")).with_suffix(".txt")
        if not labels.is_file():
            problems.add("picture without a label file", str(path))
            continue
        picture = cv2.imread(str(path))
        if picture is None:
            problems.add("unreadable picture", str(path))
            continue
        height, width = picture.shape[:2]
        boxes = []
        for number, line in enumerate(_lines(labels), start=1):
            parts = line.split()
            if not parts or parts[0] != "0":
                continue
            x, y, w, h = _numbers(parts[1:5], 4, f"{labels} line {number}")
            boxes.append([(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])
        yield LabelledPicture(path, folder.name, _rows(boxes), _rows([]))


def _mot(folder: Path, problems: Problems) -> Iterator[LabelledPicture]:
    pictures = sorted(path for path in (folder / "img1").glob("*") if path.suffix.lower() in _PICTURE_ENDINGS)
    by_frame: dict[int, tuple[list[list[float]], list[list[float]]]] = {}
    truth = folder / "gt" / "gt.txt"
    for number, row in enumerate(_table(truth), start=1):
        where = f"{truth} line {number}"
        values = _numbers(row[:7], 7, where)
        boxes, ignored = by_frame.setdefault(_frame(values[0], where), ([], []))
        # MOTChallenge counts pixels from 1; class 1 is a pedestrian, flag 0 is not to be scored.
        box = [values[2] - 1, values[3] - 1, values[4], values[5]]
        is_person = len(row) < 8 or "." in row[7] or row[7] in ("1", "-1")
        (boxes if values[6] > 0 and is_person else ignored).append(box)
    for path in pictures:
        if not path.stem.isdecimal():
            raise UserError(f"picture {path} is not named after its frame; name it like 000001{path.suffix}")
        boxes, ignored = by_frame.pop(int(path.stem), ([], []))
        yield LabelledPicture(path, folder.name, _rows(boxes), _rows(ignored))
    for frame in by_frame:
        problems.add("labels of a frame without a picture", f"{folder.name} frame {frame}")


def _cvat(path: Path, problems: Problems) -> Iterator[LabelledPicture]:
    root = _xml(path)
    images = list(root.iter("image"))
    if not images:
        raise UserError(f"{path} holds no pictures; export it as 'CVAT for images 1.1'")
    for image in images:
        name = image.get("name") or ""
        boxes, ignored = [], []
        for number, box in enumerate(image.iter("box"), start=1):
            label = (box.get("label") or "").lower()
            corners = [box.get(part) for part in ("xtl", "ytl", "xbr", "ybr")]
            left, top, right, bottom = _numbers(corners, 4, f"{path} {name} box {number}")
            row = [left, top, right - left, bottom - top]
            if label in _PERSON_NAMES:
                boxes.append(row)
            elif label == "ignore":
                ignored.append(row)
        if not name:
            problems.add("annotation without a picture name", f"{path.name} image {image.get('id')}")
            continue
        found = next(
            (folder / name for folder in (path.parent, path.parent / "images") if (folder / name).is_file()), None
        )
        yield LabelledPicture(found or path.parent / name, path.stem, _rows(boxes), _rows(ignored))


def _town_centre(path: Path, problems: Problems) -> Iterator[LabelledPicture]:
    """Read rows ``person, frame, head valid, body valid, head box (4), body box (4)``; frames from 0, corners."""
    videos = [video for video in path.parent.glob(f"{path.stem}.*") if video.suffix in (".avi", ".mp4", ".mov")]
    if len(videos) != 1:
        raise UserError(f"beside {path} there must be one video of the same name (.avi, .mp4 or .mov)")
    by_frame: dict[int, list[list[float]]] = {}
    for number, row in enumerate(_table(path), start=1):
        where = f"{path} line {number}"
        values = _numbers(row[:12], 12, where)
        if values[3] < 1:
            problems.add("body marked as not valid", where)
            continue
        left, top, right, bottom = values[8:12]
        by_frame.setdefault(_frame(values[1], where), []).append([left, top, right - left, bottom - top])
    for frame, boxes in sorted(by_frame.items()):
        yield LabelledPicture(videos[0], path.stem, _rows(boxes), _rows([]), frame=frame + 1)


def _table(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as comma-separated text; restore it") from error


def _xml(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{path} is not well-formed XML ({error}); restore it") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text; restore it") from error


def _objects(coco: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = coco[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TypeError(f"'{key}' is not a list of objects")
    return entries


def _numbers(values: Any, count: int, where: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} has a value that is no number ({values}); correct it") from error
    if len(numbers) != count:
        raise UserError(f"{where} has {len(numbers)} numbers, not {count}; correct it")
    return numbers


def _frame(number: float, where: str) -> int:
    if not number.is_integer():
        raise UserError(f"{where} has the frame {number:g}, which is no whole number; correct it")
    return int(number)


def _rows(values: Any) -> FloatArray:
    return np.array(values or [], np.float64).reshape(-1, 4)

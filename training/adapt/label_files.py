"""Labels that the teacher made, as files for review: COCO JSON and CVAT XML beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional
from xml.etree import ElementTree

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray, Image
from training.adapt.teacher import SiteLabels
from training.prepare.readers import read_source
from training.prepare.records import Problems

_QUALITY = 92
_MADE_FROM = "made_from"


def write_labels(
    folder: Path, pictures: Iterable[tuple[str, Image, SiteLabels]], video: str, made_from: dict[str, Any]
) -> Path:
    """Write pictures, ``labels.json`` (COCO) and ``cvat.xml`` into a folder; returns the COCO file.

    Args:
        folder: is made where it is missing.
        pictures: name, (H, W, 3) BGR picture and labels of each.
        video: name of the video that they are from.
        made_from: JSON values that ``stored_fingerprints`` gives back.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be written ({error.strerror}); give another --out") from error
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, (name, picture, labels) in enumerate(pictures, start=1):
        file_name = f"images/{name}.jpg"
        if not cv2.imwrite(str(folder / file_name), picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
            raise UserError(f"picture {folder / file_name} cannot be written; give another --out")
        height, width = picture.shape[:2]
        size = {"width": width, "height": height}
        images.append({"id": number, "file_name": file_name, **size})
        node = ElementTree.SubElement(
            root, "image", {"id": str(number - 1), "name": file_name, "width": str(width), "height": str(height)}
        )
        scores = [*labels.score.tolist(), *[None] * len(labels.ignored)]
        boxes = np.concatenate([labels.boxes, labels.ignored])
        for score, row in zip(scores, _inside(boxes, width, height)):
            left, top, right, bottom = row
            annotation = {
                "id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": int(score is None),
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "area": round((right - left) * (bottom - top), 2),
            }  # fmt: skip
            annotations.append(annotation if score is None else {**annotation, "pseudo": round(score, 3)})
            corners = {"xtl": str(left), "ytl": str(top), "xbr": str(right), "ybr": str(bottom)}
            label = "ignore" if score is None else "person"
            ElementTree.SubElement(node, "box", {"label": label, "source": "auto", "occluded": "0", **corners})
    coco = {
        "info": {
            "description": f"people in {video}, labelled by a detector on tiles; not reviewed",
            _MADE_FROM: made_from,
        },
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(coco) + "\n", encoding="utf-8")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / "cvat.xml", encoding="utf-8", xml_declaration=True)
    return path


def stored_fingerprints(path: Path) -> Optional[dict[str, Any]]:
    """Return what the labels of ``write_labels`` were made from, or None where the file does not say it.

    Raises:
        UserError: the file is not COCO JSON.
    """
    try:
        info = json.loads(path.read_text(encoding="utf-8")).get("info", {})
        made_from: Optional[dict[str, Any]] = info.get(_MADE_FROM)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not COCO JSON ({error}); remove it to label again") from error
    return made_from


def reviewed_labels(source: Path, folder: Path) -> Path:
    """Bring labels that a person reviewed, in any format of ``prepare``, to COCO JSON in ``folder``.

    Raises:
        UserError: the labels cannot be read, or hold nobody.
    """
    problems = Problems()
    found = [picture for picture in read_source(source, problems) if picture.frame is None]
    if problems.counts:
        raise UserError(f"labels {source} have problems: {problems}; correct them")
    if not any(len(picture.boxes) for picture in found):
        raise UserError(f"labels {source} hold no person in a picture; give the reviewed labels")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(found, start=1):
        content = cv2.imread(str(picture.path))
        if content is None:
            raise UserError(f"picture {picture.path} of {source} is missing; put the labels beside their pictures")
        height, width = content.shape[:2]
        images.append({"id": number, "file_name": str(picture.path.resolve()), "width": width, "height": height})
        for rows, crowd in ((picture.boxes, 0), (picture.ignored, 1)):
            for row in rows.tolist():
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": row,
                         "iscrowd": crowd}  # fmt: skip
                annotations.append(entry)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "reviewed.json"
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(coco) + "\n", encoding="utf-8")
    return path


def _inside(boxes: FloatArray, width: int, height: int) -> list[list[float]]:
    limit = np.array([width, height, width, height])
    rows: list[list[float]] = np.round(np.clip(boxes, 0, limit), 2).tolist()
    return rows

"""Labelled pictures: COCO JSON with a folder of pictures, or with a video whose frames it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray, Image
from edge_app.source import VideoFile
from training.evaluation.ignore_regions import foot_rects_of


@dataclass(frozen=True)
class LabelledPictures:
    """A checked COCO data set.

    Attributes:
        coco: the parsed JSON: ``images``, ``annotations``, ``categories``.
        folder: where the pictures lie.
        video: None, or a video whose 1-based frames the images' key ``frame`` names.
        person_category: id of the category to evaluate.
        ignore_rects_foot: (R, 4) source pixels xyxy: people whose foot is in one are not annotated. Where there is
            one, people whose box touches the picture's border are not annotated either.
    """

    coco: dict[str, Any]
    folder: Path
    video: Optional[Path]
    person_category: int
    ignore_rects_foot: FloatArray

    def __len__(self) -> int:
        return len(self.coco["images"])

    def pictures(self) -> Iterator[tuple[dict[str, Any], Image]]:
        """Yield each image record with its (H, W, 3) BGR picture.

        Raises:
            UserError: a picture is missing or cannot be read.
        """
        if self.video is not None:
            yield from self._frames(self.video)
            return
        for record in self.coco["images"]:
            path = self.folder / record["file_name"]
            picture = cv2.imread(str(path))
            if picture is None:
                raise UserError(f"picture {path} is missing or cannot be read; restore it or remove it from the labels")
            yield record, picture.astype(np.uint8, copy=False)

    def within(self, first: int, last: int) -> LabelledPictures:
        """Return the set of the video frames ``first`` to ``last``, both included.

        Raises:
            UserError: the labels name no such frame.
        """
        images = [record for record in self.coco["images"] if first <= int(record.get("frame", -1)) <= last]
        if not images:
            raise UserError(f"the labels name no frame from {first} to {last}; check --frames")
        kept = {record["id"] for record in images}
        annotations = [entry for entry in self.coco["annotations"] if entry["image_id"] in kept]
        return replace(self, coco={**self.coco, "images": images, "annotations": annotations})

    def _frames(self, video: Path) -> Iterator[tuple[dict[str, Any], Image]]:
        wanted = {int(record["frame"]): record for record in self.coco["images"]}
        for frame in VideoFile(video, fps=1.0):
            record = wanted.pop(frame.index + 1, None)
            if record is not None:
                yield record, frame.image
        if wanted:
            raise UserError(
                f"video {video} ends before frame {min(wanted)} of the labels; give the video they belong to"
            )


def load_labelled_pictures(labels: Path, video: Optional[Path] = None) -> LabelledPictures:
    """Read and check a COCO JSON file.

    The key ``ignore_rects_foot`` (rectangles x, y, width, height) says where people are left out of the annotations.

    Args:
        labels: the JSON file, or a folder with a ``labels.json``.
        video: take pictures from this video's frames.

    Raises:
        UserError: the file is missing, not COCO JSON, or has no pictures or no person.
    """
    path = labels / "labels.json" if labels.is_dir() else labels
    coco = _read(path)
    if not coco["images"] or not coco["annotations"]:
        raise UserError(f"labels {path} hold no {'pictures' if not coco['images'] else 'boxes'}; give a labelled set")
    if video is not None and any("frame" not in record for record in coco["images"]):
        raise UserError(f"labels {path} do not name video frames; leave --video out or give labels with 'frame'")
    people = [entry["id"] for entry in coco["categories"] if entry["name"].lower() in ("person", "pedestrian")]
    if len(people) != 1:
        raise UserError(f"labels {path} have {len(people)} categories 'person'; exactly one is needed")
    try:
        rects = foot_rects_of(coco.get("ignore_rects_foot", []))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"labels {path}: 'ignore_rects_foot' is not a list of [x, y, width, height]; correct it"
        ) from error
    return LabelledPictures(coco, path.parent, video, people[0], rects)


def _read(path: Path) -> dict[str, Any]:
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"labels {path} do not exist; give a COCO JSON file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"labels {path} are not JSON; give a COCO JSON file") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(coco, dict) or not all(isinstance(coco.get(part), list) for part in parts):
        raise UserError(f"labels {path} are not COCO JSON (images, annotations, categories); convert them first")
    return coco

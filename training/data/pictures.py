"""Labelled training pictures in memory, compressed as they came."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray, Image
from training.evaluation.labelled_pictures import load_labelled_pictures


@dataclass(frozen=True, eq=False)
class Example:
    """One picture, still compressed, with its people.

    Attributes:
        encoded: the picture's file.
        boxes: (N, 4) normalised ymin, xmin, ymax, xmax.
        ignored: (M, 4) regions in which people are not labelled.
        rows: height of the picture, pixels; 0 if it is not known.
        squeezed: width over height of the view that was squeezed into this picture, over those of the picture; 1 if it
            was not squeezed.
    """

    encoded: bytes
    boxes: FloatArray
    ignored: FloatArray
    rows: int = 0
    squeezed: float = 1.0

    def decode(self, rows: float = np.inf) -> Image:
        """Return the picture, (H, W, 3) uint8 BGR; where ``rows`` are enough, a half or a quarter of its size."""
        flag = cv2.IMREAD_COLOR
        if self.rows >= 4 * rows:
            flag = cv2.IMREAD_REDUCED_COLOR_4
        elif self.rows >= 2 * rows:
            flag = cv2.IMREAD_REDUCED_COLOR_2
        return _decode(self, flag)


def keep_decoded(pictures: int) -> None:
    """Let this process keep so many decoded pictures; they are not to be written to."""
    global _decode  # noqa: PLW0603 - the size of the cache is a setting of the process
    _decode = lru_cache(maxsize=pictures)(_decoded) if pictures else _decoded


def _decoded(example: Example, flag: int) -> Image:
    return cv2.imdecode(np.frombuffer(example.encoded, np.uint8), flag).astype(np.uint8, copy=False)


_decode: Callable[[Example, int], Image] = _decoded


def load_examples(labels: Path, squeezed: float = 1.0) -> list[Example]:
    """Read a COCO set for training, whose views were squeezed in width as ``Example`` says.

    Raises:
        UserError: labels or pictures are missing or cannot be read.
    """
    data = load_labelled_pictures(labels)
    by_image: dict[int, list[dict]] = {}
    for entry in data.coco["annotations"]:
        if entry["category_id"] == data.person_category:
            by_image.setdefault(entry["image_id"], []).append(entry)
    examples = []
    for record in data.coco["images"]:
        path = data.folder / record["file_name"]
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise UserError(f"picture {path} is missing; restore it or remove it from the labels") from error
        if cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
            raise UserError(f"picture {path} cannot be decoded; restore it or remove it from the labels")
        entries = by_image.get(record["id"], [])
        examples.append(
            Example(
                encoded,
                _boxes([entry for entry in entries if not entry.get("iscrowd")], record),
                _boxes([entry for entry in entries if entry.get("iscrowd")], record),
                int(record["height"]),
                squeezed,
            )
        )
    return examples


def fingerprint(sets: Iterable[Sequence[Example]]) -> str:
    """Return a hash of all pictures and boxes, in their order."""
    digest = hashlib.sha256()
    for examples in sets:
        digest.update(f"set of {len(examples)}".encode())
        for example in examples:
            digest.update(hashlib.sha256(example.encoded).digest())
            for boxes in (example.boxes, example.ignored):
                digest.update(f"boxes {len(boxes)}".encode())
                digest.update(boxes.tobytes())
    return digest.hexdigest()


def _boxes(entries: list[dict], record: dict) -> FloatArray:
    """Return (N, 4) normalised ymin, xmin, ymax, xmax, cut to the picture, without empty ones."""
    rows = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    low, high = rows[:, 1::-1], rows[:, 1::-1] + rows[:, 3:1:-1]
    size = np.array([record["height"], record["width"]], np.float64)
    boxes = np.clip(np.hstack([low / size, high / size]), 0.0, 1.0)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]

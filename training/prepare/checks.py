"""Checks pictures and boxes; what is wrong is repaired or left out, and always counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np

from edge_app.records import FloatArray, Image
from edge_app.source import VideoFile
from training.prepare.records import LabelledPicture, Problems

# Boxes narrower or lower than this, pixels, can't be seen by anyone.
_SMALLEST_PX = 2.0
_JPEG_QUALITY = 92
# Side of the thumbnail whose brightness differences make a picture's fingerprint.
_HASH_SIDE = 8


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that can be trained on.

    Attributes:
        name: for people and file names.
        scene: camera or sequence.
        encoded: the picture as JPEG or PNG.
        width, height: pixels.
        boxes, ignored: (N, 4) and (M, 4) x, y, width, height, inside the picture.
        fingerprint: 64-bit difference hash; near duplicates differ in few bits.
    """

    name: str
    scene: str
    encoded: bytes
    width: int
    height: int
    boxes: FloatArray
    ignored: FloatArray
    fingerprint: int


def check_pictures(pictures: Iterable[LabelledPicture], problems: Problems) -> Iterator[CheckedPicture]:
    """Read every picture, clean its boxes and yield what can be used."""
    video: Optional[_Frames] = None
    for record in pictures:
        name = record.path.name if record.frame is None else f"{record.path.name}#{record.frame}"
        if record.frame is None:
            encoded, image = _read(record.path)
        else:
            if video is None or video.path != record.path:
                video = _Frames(record.path)
            encoded, image = video.get(record.frame)
        if image is None or encoded is None:
            problems.add("picture missing or unreadable", str(record.path) if record.frame is None else name)
            continue
        height, width = image.shape[:2]
        boxes = clean_boxes(record.boxes, width, height, name, problems)
        ignored = clean_boxes(record.ignored, width, height, name, Problems())
        yield CheckedPicture(name, record.scene, encoded, width, height, boxes, ignored, difference_hash(image))


def clean_boxes(boxes: FloatArray, width: int, height: int, name: str, problems: Problems) -> FloatArray:
    """Cut boxes to the picture and leave out degenerate ones and duplicates, counting each."""
    kept: list[FloatArray] = []
    for number, (x, y, w, h) in enumerate(boxes.tolist(), start=1):
        where = f"{name} box {number}"
        if not np.isfinite([x, y, w, h]).all() or w <= 0 or h <= 0:
            problems.add("degenerate box left out", where)
            continue
        low, high = np.clip([x, y], 0, [width, height]), np.clip([x + w, y + h], 0, [width, height])
        if not np.allclose(low, [x, y]) or not np.allclose(high, [x + w, y + h]):
            problems.add("box cut to the picture", where)
        row = np.concatenate([low, high - low])
        if (row[2:] < _SMALLEST_PX).any():
            problems.add("box outside the picture or too small left out", where)
        elif any(np.abs(row - other).max() < 1.0 for other in kept):
            problems.add("duplicate box left out", where)
        else:
            kept.append(row)
    return np.array(kept, np.float64).reshape(-1, 4)


def difference_hash(image: Image) -> int:
    """Return the 64-bit difference hash of a picture: which of neighbouring thumbnail pixels is brighter."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _read(path: Path) -> tuple[Optional[bytes], Optional[Any]]:
    try:
        encoded = path.read_bytes()
    except OSError:
        return None, None
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    if image is not None and path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        encoded = cv2.imencode(".png", image)[1].tobytes()
    return encoded, image


class _Frames:
    """Frames of a video in increasing order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._frames = iter(VideoFile(path, fps=1.0))

    def get(self, number: int) -> tuple[Optional[bytes], Optional[Any]]:
        """Return the 1-based frame, or nothing where the video ends before it."""
        for frame in self._frames:
            if frame.index + 1 == number:
                _, encoded = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
                return encoded.tobytes(), frame.image
        return None, None

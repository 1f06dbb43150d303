"""The representative data set: pictures that show the quantiser which values occur."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.preprocess import ResizeMode, resize_to_input

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp"}
_FEWEST = 10


def representative_pictures(folder: Path, count: int, seed: int) -> list[Path]:
    """Choose pictures from a folder and its subfolders.

    Args:
        folder: any folder of pictures.
        count: how many to take at most.
        seed: the same seed takes the same pictures.

    Raises:
        UserError: the folder is missing or holds fewer than ten pictures.
    """
    if not folder.is_dir():
        raise UserError(f"representative folder {folder} does not exist; give a folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
    if len(found) < _FEWEST:
        raise UserError(
            f"representative folder {folder} holds {len(found)} pictures; give at least {_FEWEST}, better 100, of the "
            "kind that the camera will see"
        )
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[index] for index in sorted(order)]


def model_inputs(pictures: list[Path], height: int, width: int, mode: ResizeMode) -> Iterator[list[Any]]:
    """Yield each picture as the converter wants it: a list with one (1, height, width, 3) float32 tensor.

    Raises:
        UserError: a picture cannot be read.
    """
    for path in pictures:
        image = cv2.imread(str(path))
        if image is None:
            raise UserError(f"picture {path} cannot be read; remove it from the representative folder")
        pixels, _ = resize_to_input(image.astype(np.uint8, copy=False), width, height, mode)
        yield [((pixels.astype(np.float32) - 127.5) / 127.5)[None]]

"""A folder of pictures as a source: in order of their names, at a stated rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import Frame, Image

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_DEFAULT_FPS = 5.0


class ImageFolder:
    """Pictures of one folder, read one at a time.

    Attributes:
        name: the folder's name.
        fps: pictures a second.
        frame_count: number of pictures.
        width, height: of the first picture, pixels; later ones may differ.
    """

    def __init__(self, folder: Path, *, fps: Optional[float] = None, loop: bool = False) -> None:
        """Look into the folder.

        Raises:
            UserError: it holds no picture that can be read.
        """
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        if not self._paths:
            raise UserError(f"folder {folder} holds no pictures ({', '.join(sorted(_ENDINGS))}); give another source")
        self.name = folder.name
        self.fps = fps or _DEFAULT_FPS
        self.frame_count: Optional[int] = len(self._paths)
        self.height, self.width = _read(self._paths[0]).shape[:2]
        self._loop = loop

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures.

        Raises:
            UserError: a picture cannot be read.
        """
        index = 0
        while True:
            for path in self._paths:
                yield Frame(_read(path), index, index / self.fps)
                index += 1
            if not self._loop:
                return

    def close(self) -> None:
        """Nothing is held open."""


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path))
    if picture is None:
        raise UserError(f"picture {path} cannot be read; restore it or take it out of the folder")
    return picture.astype(np.uint8, copy=False)

"""Places labels on a picture so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import cv2
import numpy as np

from edge_app.records import Image
from edge_app.render import palette
from edge_app.render.palette import Colour

_FONT = cv2.FONT_HERSHEY_DUPLEX
# Side of the cells in which taken places are kept, pixels: a look at some cells costs the same however many labels are.
_CELL = 4
Box = tuple[int, int, int, int]


class Labels:
    """Writes labels in order of importance: each at the first of its places that is free, or nowhere."""

    def __init__(self, image: Image) -> None:
        """Begin with a picture, (H, W, 3) uint8 BGR, that is written on in place."""
        self._image = image
        height, width = image.shape[:2]
        self._taken = np.zeros((-(-height // _CELL), -(-width // _CELL)), bool)

    def keep_free(self, box: Box) -> None:
        """Let no label be in x0, y0, x1, y1, pixels."""
        self._taken[_cells(box)] = True

    def put(
        self, text: str, x: int, y: int, background: Colour, shifts: Sequence[tuple[int, int]] = ((0, 0),)
    ) -> Optional[Box]:
        """Write text on a filled label.

        Args:
            text: ASCII.
            x, y: bottom left corner, pixels; moved so that the label stays in the picture.
            background: of the label.
            shifts: places to try one after another, in widths and heights of the label from that corner.

        Returns:
            x0, y0, x1, y1 of the label, pixels; None when no place was free and nothing was written.
        """
        scale = palette.font_scale(self._image.shape[0])
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
        pad = max(2, text_height // 4)
        width, height = text_width + 2 * pad, text_height + 2 * pad
        for across, down in shifts:
            left = min(max(x + across * (width + _CELL), 0), max(self._image.shape[1] - width, 0))
            bottom = min(max(y + down * (height + _CELL), height), self._image.shape[0])
            box = (left, bottom - height, left + width, bottom)
            if self._taken[_cells(box)].any():
                continue
            self.keep_free(box)
            cv2.rectangle(self._image, box[:2], box[2:], background, cv2.FILLED)
            ink = palette.SHADE if sum(background) > 380 else palette.INK
            place = (left + pad, bottom - pad - baseline // 4)
            cv2.putText(self._image, text, place, _FONT, scale, ink, 1, cv2.LINE_AA)
            return box
        return None


def _cells(box: Box) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(max(top, 0) // _CELL, -(-bottom // _CELL)), slice(max(left, 0) // _CELL, -(-right // _CELL))

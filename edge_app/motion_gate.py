"""Passes over frames in which nothing moves, and never loses a person who stands still."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from edge_app.config_section import Section
from edge_app.records import Frame, Image

# Height of the picture that is compared, pixels: averaging over an area takes the sensor's noise away.
_ROWS = 90
# Grey levels by which an averaged pixel must differ: several times what noise leaves of it.
_LEVELS = 8.0
# So many differing pixels are a movement: a person of 30 pixels in a picture of 1080 rows covers about three.
_PIXELS = 3


class MotionGateConfig(Section):
    """When frames are not looked at, to save work and heat."""

    enabled: bool = Field(True, description="look only at frames in which something moves, while nobody is followed")
    look_every_s: float = Field(
        2.0, gt=0, le=600, description="look at least this often, for people who were there before and stand still"
    )


class MotionGate:
    """Decides which frames the detector looks at.

    While anybody is followed, every frame is looked at. While nobody is, a frame is passed over if it equals the
    last one that was looked at; since the comparison is with that one and not with the frame before, slow movements add
    up. And every so often it is looked at anyhow.

    Attributes:
        passed_over: frames that were not looked at.
    """

    def __init__(self, config: MotionGateConfig) -> None:
        self._config = config
        self._looked_at: Image | None = None
        self._shape: tuple[int, ...] = ()
        self._looked_s = -np.inf
        self.passed_over = 0

    def must_look(self, frame: Frame, has_live_tracks: bool) -> bool:
        """Tell whether the detector has to look at this frame."""
        if frame.image.shape != self._shape:
            self._looked_at, self._shape = None, frame.image.shape
        if has_live_tracks:
            self._looked_at, self._looked_s = None, frame.time_s
            return True
        small = _small_grey(frame.image)
        is_due = frame.time_s - self._looked_s >= self._config.look_every_s
        if is_due or self._moved(small):
            self._looked_at, self._looked_s = small, frame.time_s
            return True
        self.passed_over += 1
        return False

    def forget(self) -> None:
        """Look at the next frame whatever it shows: what was looked at last came to nothing. From any thread."""
        self._looked_at = None

    def _moved(self, small: Image) -> bool:
        before = self._looked_at
        if before is None:
            return True
        change = small.astype(np.float32) - before
        # A camera's exposure moves all pixels alike; that is no movement.
        change -= np.median(change)
        return int((np.abs(change) > _LEVELS).sum()) >= _PIXELS


def _small_grey(image: Image) -> Image:
    height, width = image.shape[:2]
    rows = min(_ROWS, height)
    small = cv2.resize(image, (max(1, round(width * rows / height)), rows), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)

"""Tells a camera that hands out one and the same picture for ever from one that sees a quiet place."""

from __future__ import annotations

import zlib

from edge_app.records import Frame

# Every sixteenth pixel both ways: any sensor's noise changes some of them, and it costs next to nothing.
_STEP = 16


def picture_digest(frame: Frame) -> int:
    """Return what is the same for equal pictures of one size."""
    return zlib.crc32(frame.image[::_STEP, ::_STEP].tobytes())


class FrozenPicture:
    """Watches whether pictures are exactly equal; noise makes the pictures of a working sensor differ.

    Attributes:
        digest: of the newest picture; None before the first.
    """

    def __init__(self, timeout_s: float) -> None:
        """Make one; ``timeout_s`` of equal pictures are frozen, 0 means never."""
        self._timeout_s = timeout_s
        self.digest: int | None = None
        self._since_s = 0.0
        self._index = -1

    def is_frozen(self, frame: Frame, now_s: float) -> bool:
        """Take the newest frame at the monotonic time ``now_s``; the same frame again counts as no new one."""
        if self._timeout_s <= 0 or frame.index == self._index:
            return False
        self._index = frame.index
        digest = picture_digest(frame)
        if digest != self.digest:
            self.digest, self._since_s = digest, now_s
        return now_s - self._since_s >= self._timeout_s

"""FFmpeg's options for one stream, though OpenCV takes them from the environment of the whole process.

OpenCV reads them when it begins to open. Whoever opens anything with FFmpeg does it within ``ffmpeg_options``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Over UDP a lost packet smears the picture until the next key frame, and detections with it.
_USUAL = os.environ.get(_VARIABLE, "rtsp_transport;tcp")
_PATIENCE_S = 5.0


class _Turns:
    """Whose options are in the environment."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._special = ""
        self._users = 0
        self._impatient = 0

    def take(self, special: str) -> None:
        """Wait until the environment is free for these options, and put them there."""
        with self._changed:
            if special == "":
                self._changed.wait_for(lambda: self._is_free("") and self._impatient == 0)
            elif not self._changed.wait_for(lambda: self._is_free(special), _PATIENCE_S):
                # While many others open and open again there may never be a moment without one.
                self._impatient += 1
                self._changed.wait_for(lambda: self._is_free(special))
                self._impatient -= 1
            if self._users == 0:
                self._special = special
                os.environ[_VARIABLE] = f"{_USUAL}|{special}" if special else _USUAL
            self._users += 1

    def give(self) -> None:
        """Let others have it."""
        with self._changed:
            self._users -= 1
            if self._users == 0:
                os.environ[_VARIABLE] = _USUAL
            self._changed.notify_all()

    def _is_free(self, special: str) -> bool:
        return self._users == 0 or self._special == special


_turns = _Turns()


@contextmanager
def ffmpeg_options(special: str = "") -> Iterator[Callable[[], None]]:
    """Have what is opened meanwhile opened with these options, and nothing else.

    Those with the same options open side by side.

    Args:
        special: ``key;value|key;value``; win over those that a person has put into the environment.

    Yields:
        What to call as soon as FFmpeg has the options, where that shows before the end: others need not wait then.
    """
    _turns.take(special)
    lock = threading.Lock()

    def release() -> None:
        if lock.acquire(blocking=False):
            _turns.give()

    try:
        yield release
    finally:
        release()

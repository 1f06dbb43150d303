"""FFmpeg's options for one stream, though OpenCV takes them from the environment of the whole process.

OpenCV reads them when it begins to open. Whoever opens anything with FFmpeg does it within ``ffmpeg_options``, and has
its turn at the environment meanwhile. Nobody waits without end for the turn of somebody who hangs:

- A turn with the usual options ends after some seconds even if the opening goes on, as a file on a drive that does not
  answer may: it has read them long before. Should it not have, it gets those of another, which permit less.
- A turn with options of its own ends only when FFmpeg is known to have them, as they are what keeps a source to
  cameras. Should it not end, the others are told so after a while, and try again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Over UDP a lost packet smears the picture until the next key frame, and detections with it.
_USUAL = os.environ.get(_VARIABLE, "rtsp_transport;tcp")
_PATIENCE_S = 5.0
_LONGEST_USUAL_TURN_S = 5.0
_LONGEST_WAIT_S = 30.0
_POLL_S = 0.1


class OptionsBusyError(Exception):
    """Another source is being opened with options of its own, and does not get ready."""


class _Turn:
    """A source that is being opened."""

    def __init__(self, special: str) -> None:
        self.special = special
        self.since_s = time.monotonic()


class _Turns:
    """Whose options are in the environment: those of all the turns that go on, which are the same."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._going_on: list[_Turn] = []
        self._impatient = 0

    def take(self, special: str) -> _Turn:
        """Wait until the environment is free for these options, and put them there.

        Raises:
            OptionsBusyError: it does not get free.
        """
        with self._changed:
            self._wait(special)
            if not self._going_on:
                os.environ[_VARIABLE] = f"{_USUAL}|{special}" if special else _USUAL
            turn = _Turn(special)
            self._going_on.append(turn)
            return turn

    def give(self, turn: _Turn) -> None:
        """Let others have it; nothing happens where it was taken away, or given before."""
        with self._changed:
            if turn in self._going_on:
                self._going_on.remove(turn)
                self._let_others()

    def _wait(self, special: str) -> None:
        began_s = time.monotonic()
        impatient = False
        try:
            while not self._is_free(special):
                waited_s = time.monotonic() - began_s
                if waited_s > _LONGEST_WAIT_S:
                    raise OptionsBusyError
                if special and not impatient and waited_s > _PATIENCE_S:
                    # While many others open and open again there may never be a moment without one.
                    impatient = True
                    self._impatient += 1
                self._changed.wait(_POLL_S)
        finally:
            self._impatient -= impatient

    def _is_free(self, special: str) -> bool:
        if special:
            self._take_away()
        elif self._impatient:
            return False
        return all(turn.special == special for turn in self._going_on)

    def _take_away(self) -> None:
        """End the turns with the usual options that last too long."""
        before_s = time.monotonic() - _LONGEST_USUAL_TURN_S
        kept = [turn for turn in self._going_on if turn.special or turn.since_s > before_s]
        if len(kept) < len(self._going_on):
            self._going_on = kept
            self._let_others()

    def _let_others(self) -> None:
        if not self._going_on:
            os.environ[_VARIABLE] = _USUAL
        self._changed.notify_all()


_turns = _Turns()


@contextmanager
def ffmpeg_options(special: str = "") -> Iterator[Callable[[], None]]:
    """Have what is opened meanwhile opened with these options, and nothing else.

    Those with the same options open side by side.

    Args:
        special: ``key;value|key;value``; win over those that a person has put into the environment.

    Yields:
        What to call as soon as FFmpeg has the options, where that shows before the end: others need not wait then.

    Raises:
        OptionsBusyError: another source hangs with options of its own; try again.
    """
    turn = _turns.take(special)
    try:
        yield lambda: _turns.give(turn)
    finally:
        _turns.give(turn)

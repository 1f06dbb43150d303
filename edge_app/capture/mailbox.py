"""Hands the newest frame from one thread to another."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Optional

from edge_app.records import Frame

# Frames that may wait where none is dropped: a file that begins anew, or a frame that takes longer to decode, does not
# keep the accelerator waiting.
_AHEAD = 4


class Mailbox:
    """Holds the newest frame; one that nobody took in time is counted as a drop. Without drops it holds a few.

    Attributes:
        dropped: frames that were replaced before somebody took them.
        waiting_since_s: monotonic; since when a frame has waited to be done with, None where none does.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._items: deque[tuple[Frame, float]] = deque()
        self._closed = False
        self._newest_s = 0.0
        self.dropped = 0
        self.waiting_since_s: Optional[float] = None

    def put(self, frame: Frame) -> None:
        """Leave a frame, stamped with the monotonic clock."""
        with self._condition:
            if self._closed:
                return
            self.dropped += len(self._items)
            self._items.clear()
            self._add(frame)

    def put_when_there_is_room(self, frame: Frame) -> None:
        """Wait until few enough frames wait, so that none is dropped."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._items) < _AHEAD or self._closed)
            if not self._closed:
                self._add(frame)

    def wait(self) -> bool:
        """Wait until there is a frame; False once the box is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed)
            return bool(self._items)

    def take(self) -> Optional[tuple[Frame, float]]:
        """Wait for a frame and when it was captured; None once the box is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed)
            item = self._items.popleft() if self._items else None
            self._condition.notify_all()
            return item

    def done_with(self, captured_s: float) -> None:
        """Say that the frame that was captured then has become a result; a newer one waits from now on."""
        with self._condition:
            self.waiting_since_s = time.monotonic() if self._newest_s > captured_s else None

    def close(self) -> None:
        """No more frames come; wakes everybody."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _add(self, frame: Frame) -> None:
        self._newest_s = time.monotonic()
        if self.waiting_since_s is None:
            self.waiting_since_s = self._newest_s
        self._items.append((frame, self._newest_s))
        self._condition.notify_all()

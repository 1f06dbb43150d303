"""Hands the newest frame from one thread to another."""

from __future__ import annotations

import threading
import time
from typing import Optional

from edge_app.records import Frame


class Mailbox:
    """Holds one frame; a newer one replaces it and is counted as a drop.

    Attributes:
        dropped: frames that were replaced before somebody took them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Optional[tuple[Frame, float]] = None
        self._closed = False
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Leave a frame, stamped with the monotonic clock."""
        with self._condition:
            if self._closed:
                return
            if self._item is not None:
                self.dropped += 1
            self._item = (frame, time.monotonic())
            self._condition.notify_all()

    def put_when_empty(self, frame: Frame) -> None:
        """Wait until the frame before was taken, so that none is dropped."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is None or self._closed)
        self.put(frame)

    def wait(self) -> bool:
        """Wait until there is a frame; False once the box is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            return self._item is not None

    def take(self) -> Optional[tuple[Frame, float]]:
        """Wait for a frame and when it was captured; None once the box is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """No more frames come; wakes everybody."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

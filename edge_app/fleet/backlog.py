"""What was taken from the broker and is not stored yet: so many messages, and so many bytes.

Who takes messages from the broker waits here for room, and reads nothing from the socket meanwhile. So the broker
keeps them, as its persistent session does even where it hangs up on a receiver that is silent for too long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

log = logging.getLogger(__name__)

# Reading goes on at half of what is allowed, so that it does not stop for each message; after so long it goes on with
# what there is room for, so that the broker is told of what was stored before it takes the silence for a fault.
_LONGEST_REST_S = 10.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Taken:
    """A message as it came.

    Attributes:
        connection: number of the connection to the broker; ``mid`` means something in it only.
        mid: the broker's number of the message.
        device: by the topic.
    """

    connection: int
    mid: int
    device: str
    payload: bytes

    @property
    def size(self) -> int:
        """Return how many bytes it has, by which it is counted."""
        return len(self.payload) + len(self.device)


class Backlog:
    """A queue with a limit of messages and one of bytes. One thread puts, another gathers and stores.

    Attributes:
        pauses: how often there was no room so far.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        """Allow so many messages in the queue, and so many bytes in it and in hand together."""
        self.pauses = 0
        self._most, self._most_bytes = most, most_bytes
        self._queue: deque[Taken] = deque()
        self._queued_bytes = 0
        self._in_hand_bytes = 0
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """Return the bytes of all messages that are not stored, those in hand included."""
        return self._queued_bytes + self._in_hand_bytes

    def put(self, taken: Taken, stopping: threading.Event) -> bool:
        """Add a message as soon as there is room for it.

        Returns:
            Whether it was added; not after ``stopping``.
        """
        with self._changed:
            if not self._has_room(taken) and not self._wait_for_room(taken, stopping):
                return False
            self._queue.append(taken)
            self._queued_bytes += taken.size
            self._changed.notify_all()
        return True

    def gather(self, most: int, most_bytes: int, wait_s: float) -> list[Taken]:
        """Wait for a message, then once more as long for others; what is returned is in hand.

        Returns:
            At most ``most`` messages of at most ``most_bytes`` together, oldest first; one if it alone has more.
        """
        batch: list[Taken] = []
        batch_bytes = 0
        until_s = time.monotonic() + wait_s
        with self._changed:
            while len(batch) < most:
                if not self._queue:
                    if (left_s := until_s - time.monotonic()) <= 0:
                        break
                    self._changed.wait(left_s)
                    continue
                if batch and batch_bytes + self._queue[0].size > most_bytes:
                    break
                if not batch:
                    until_s = time.monotonic() + wait_s
                taken = self._queue.popleft()
                batch.append(taken)
                batch_bytes += taken.size
                self._queued_bytes -= taken.size
                self._in_hand_bytes += taken.size
        return batch

    def keep_in_hand(self, size: int) -> None:
        """Note that of all that was gathered so many bytes are not stored yet."""
        with self._changed:
            self._in_hand_bytes = size
            self._changed.notify_all()

    def _has_room(self, taken: Taken, share: float = 1.0) -> bool:
        return self.size + taken.size <= share * self._most_bytes and len(self._queue) < share * self._most

    def _wait_for_room(self, taken: Taken, stopping: threading.Event) -> bool:
        log.warning(
            "%d messages wait to be stored, %.1f MiB with those in hand; no more are read until there is room",
            len(self._queue),
            self.size / (1 << 20),
        )
        self.pauses += 1
        since_s = time.monotonic()
        while not self._has_room(taken, 0.5):
            if stopping.is_set():
                return False
            if time.monotonic() - since_s > _LONGEST_REST_S and self._has_room(taken):
                break
            self._changed.wait(_LOOK_S)
        log.info("messages are read again after %.1f s", time.monotonic() - since_s)
        return True

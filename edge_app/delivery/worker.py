"""A thread for each receiver that takes one message after the other: webhook and Apprise."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from typing import Optional, Protocol

from edge_app.delivery.outbox import Outbox, Waiting

log = logging.getLogger(__name__)

_POLL_S = 0.5
_BATCH = 20
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
# A message whose time is over by the clock, which may be set, is tried for so long in a run all the same.
_TRIED_S = 3600.0


class RefusedError(Exception):
    """The receiver will never take this message."""


class NotDeliveredError(Exception):
    """The receiver did not take this message now; it may later."""


class Sender(Protocol):
    """Sends one message."""

    give_up_s: float

    def send(self, message: Waiting) -> None:
        """Send it.

        Raises:
            RefusedError: never to be tried again.
            NotDeliveredError: to be tried again later.
        """


class DeliveryWorker:
    """Sends the messages of one channel in order, and tries again with growing pauses.

    Attributes:
        delivered, given_up: messages so far; what is given up is in the log.
        trouble: why the last try failed; None after one that went well.
    """

    def __init__(self, channel: str, sender: Sender, outbox: Outbox, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self.delivered = 0
        self.given_up = 0
        self.trouble: Optional[str] = None
        self._channel = channel
        self._sender = sender
        self._outbox = outbox
        self._first_pause_s = first_pause_s
        self._after_seq = 0
        self._failures = 0
        self._known: deque[tuple[int, float]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=channel, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop soon; what was not delivered stays in the outbox."""
        self._stopping.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                pause_s = self._deliver()
            except Exception as error:
                log.exception("delivery by %s failed", self._channel)
                self.trouble = f"delivery failed ({type(error).__name__}); see the log"
                pause_s = self._pause_s()
        self._outbox.close()

    def _deliver(self) -> float:
        """Send what waits; return seconds until the next look."""
        self._note_newest()
        for message in self._outbox.waiting(self._channel, self._after_seq, _BATCH):
            if self._stopping.is_set():
                break
            try:
                self._sender.send(message)
                self.delivered += 1
                self.trouble = None
            except NotDeliveredError as error:
                self._say(str(error))
                if not self._has_waited_enough(message):
                    return self._pause_s()
                self._give_up(message, str(error))
            except RefusedError as error:
                self._give_up(message, str(error))
            self._failures = 0
            self._after_seq = message.seq
            self._outbox.delivered([message.seq])
        return _POLL_S

    def _note_newest(self) -> None:
        """Remember since when the newest message is known: the clock that stamped it may be set at any time."""
        newest = self._outbox.newest(self._channel)
        if not self._known or newest > self._known[-1][0]:
            self._known.append((newest, time.monotonic()))
        while len(self._known) > 1 and self._known[0][0] <= self._after_seq:
            self._known.popleft()

    def _has_waited_enough(self, message: Waiting) -> bool:
        """Tell whether a message is to be given up: by what this run has seen, and by the clock after an hour of it."""
        since_s = next((since_s for seq, since_s in self._known if seq >= message.seq), time.monotonic())
        seen_s = time.monotonic() - since_s
        give_up_s = self._sender.give_up_s
        age_s = time.time() - message.created_utc_s
        return seen_s >= give_up_s or (seen_s >= _TRIED_S and age_s >= give_up_s)

    def _pause_s(self) -> float:
        """Return a pause that doubles with each failure, with a random part so that devices do not call in step."""
        longest_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return longest_s * random.uniform(0.5, 1.0)

    def _say(self, reason: str) -> None:
        """Log a failure once, not at each try."""
        if self.trouble != reason:
            log.warning("%s: %s; it is tried again", self._channel, reason)
        self.trouble = reason

    def _give_up(self, message: Waiting, reason: str) -> None:
        self.given_up += 1
        self.trouble = reason
        log.error("%s: message %s is given up: %s", self._channel, message.uid, reason)

"""Slows down whoever guesses passwords."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# A key that made no mistake for this long starts over.
_FORGET_S = 3600.0
_MOST_KEYS = 4096


class Throttle:
    """Counts failures of a key, such as an address or an account's name, and says how long it has to wait."""

    def __init__(self, free: int, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Let ``free`` failures pass, as people mistype; then the wait doubles from a second up to ``longest_s``."""
        self._free = free
        self._longest_s = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Return the whole seconds until the key's next try is heard, 0 if now."""
        with self._lock:
            count, last_s = self._failures.get(key, (0, 0.0))
            if count < self._free:
                return 0
            until_s = last_s + min(self._longest_s, 2.0 ** min(count - self._free, 30))
            return max(0, math.ceil(until_s - self._clock()))

    def fail(self, key: str) -> None:
        """Count a failure."""
        now_s = self._clock()
        with self._lock:
            count, last_s = self._failures.pop(key, (0, now_s))
            self._failures[key] = (1 if now_s - last_s > _FORGET_S else count + 1, now_s)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def succeed(self, key: str) -> None:
        """Forget the key's failures."""
        with self._lock:
            self._failures.pop(key, None)

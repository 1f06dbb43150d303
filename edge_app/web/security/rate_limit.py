"""Limits how often one network address may ask for anything, so that nobody keeps the device busy."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KEYS = 4096


class RateLimit:
    """A bucket of requests for each key, such as an address: it is refilled steadily, and each request takes one."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow ``burst`` requests at once and ``per_s`` a second in the long run."""
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Take a request; return 0 where it may be answered, else the whole seconds until one may be again."""
        now_s = self._clock()
        with self._lock:
            left, last_s = self._buckets.pop(key, (float(self._burst), now_s))
            left = min(self._burst, left + (now_s - last_s) * self._per_s)
            allowed = left >= 1
            self._buckets[key] = (left - allowed, now_s)
            while len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / self._per_s)

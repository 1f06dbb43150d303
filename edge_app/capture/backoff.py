"""Pauses between attempts: longer each time, never the same for two devices, never under a second."""

from __future__ import annotations

import random

_FIRST_S = 1.0
_LONGEST_S = 30.0


class Backoff:
    """Exponential pauses with jitter.

    Cameras that went down together must not all come back to one switch in the same instant; and whatever fails at
    once every time is tried less than once a second.
    """

    def __init__(self, first_s: float = _FIRST_S, longest_s: float = _LONGEST_S, seed: int | None = None) -> None:
        """Make one; ``seed`` fixes the jitter for tests."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._random = random.Random(seed)
        self.failures = 0

    def next_pause_s(self) -> float:
        """Count a failure and return how long to wait before the next attempt."""
        # 2 ** 16 is far above every cap; more would overflow after days of failures.
        ceiling = min(self._longest_s, self._first_s * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return self._first_s + self._random.random() * ceiling

    def reset(self) -> None:
        """It works again."""
        self.failures = 0

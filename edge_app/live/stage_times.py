"""How long each stage takes, as of late."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

_KEPT = 1000


class StageTimes:
    """Times of the newest frames, per stage; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, deque[float]] = {}

    def add(self, stage: str, since_s: float) -> float:
        """Add the time since ``since_s`` (``time.perf_counter``) to a stage and return it."""
        took_s = time.perf_counter() - since_s
        with self._lock:
            self._seconds.setdefault(stage, deque(maxlen=_KEPT)).append(took_s)
        return took_s

    def summary_ms(self) -> dict[str, dict[str, float]]:
        """Return median and 95th percentile of each stage, milliseconds."""
        with self._lock:
            copied = {stage: list(values) for stage, values in self._seconds.items()}
        return {
            stage: {
                "median": round(1000 * float(np.median(values)), 3),
                "p95": round(1000 * float(np.percentile(values, 95)), 3),
            }
            for stage, values in copied.items()
        }

"""Waiting for what other threads do."""

from __future__ import annotations

import time


def wait_until(condition, timeout_s=60.0):
    """Return as soon as the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)

"""Open streams: each holds a thread of the server, so there is a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Optional

from flask import abort

# Open streams at most, of all kinds together.
MAX_STREAMS = 16


class Streams:
    """Counts the open streams."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MAX_STREAMS)

    def limited(self, items: Iterator[bytes]) -> Iterator[bytes]:
        """Pass a stream on while there is room for it; refuse it, with 503, when there is none."""
        if not self._places.acquire(blocking=False):
            abort(503, "too many viewers at once; close another page")
        return _Released(self._places, items)


class _Released(Iterator[bytes]):
    """Gives the place of a stream back when the server closes it, also when it was never begun."""

    def __init__(self, places: threading.BoundedSemaphore, items: Iterator[bytes]) -> None:
        self._places: Optional[threading.BoundedSemaphore] = places
        self._items = items

    def __next__(self) -> bytes:
        return next(self._items)

    def close(self) -> None:
        self._items.close()  # type: ignore[attr-defined]
        places, self._places = self._places, None
        if places is not None:
            places.release()

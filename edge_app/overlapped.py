"""Decoding, inference and interpretation overlap: each runs in its own thread, a few frames ahead of the next."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, Optional, TypeVar, Union

T = TypeVar("T")

# Frames that may wait between two stages: enough to even out jitter, little enough for 1 GB of memory.
_DEPTH = 4


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


class Overlapped(Generic[T]):
    """Runs an iterable in a background thread, at most a few items ahead of its reader.

    Use as a context manager: on exit the thread is told to stop and is waited for. An exception of the iterable is
    raised in the reader, at its place in the order.
    """

    def __init__(self, items: Iterable[T], name: str) -> None:
        self._items = items
        self._queue: queue.Queue[Union[T, _Failure, _End]] = queue.Queue(_DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Overlapped[T]:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        """Yield the items in order."""
        while True:
            item = self._next()
            if item is None or isinstance(item, _End):
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def _next(self) -> Optional[Union[T, _Failure, _End]]:
        # A stage whose reader was stopped may itself wait on a stage before it; both must wake up.
        while not self._stopped.is_set():
            try:
                return self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_End())
        except BaseException as error:
            # Whatever it is, it belongs to the reader, which decides; nothing is swallowed here.
            self._put(_Failure(error))

    def _put(self, item: Union[T, _Failure, _End]) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

"""Inferences in threads of their own: several cameras take turns, and the next frame is ready when the last is done."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Optional, TypeVar

T = TypeVar("T")

# Weight of the newest inference in the running estimate of their time.
_GAIN = 0.2


class Pending(Generic[T]):
    """The result of an inference that may not be done yet; set or failed once.

    A bare lock is held until then: waiting for it takes no Python code, which the frames before and after would have to
    wait for.
    """

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self._value: Optional[T] = None
        self._error: Optional[BaseException] = None

    def set(self, value: T) -> None:
        """It is done."""
        self._value = value
        self._done.release()

    def fail(self, error: BaseException) -> None:
        """It failed."""
        self._error = error
        self._done.release()

    def wait(self) -> None:
        """Wait until it is done or has failed."""
        with self._done:
            pass

    def result(self) -> T:
        """Wait for the result; raises what the inference raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class _Job:
    """An inference that is handed over; a bare lock, as in ``Pending``, is held until it is taken."""

    def __init__(self, run: Callable[[], None], give_up: Callable[[], None]) -> None:
        self.run = run
        self.give_up = give_up
        self._taken = threading.Lock()
        self._taken.acquire()

    def take(self) -> None:
        """Let whoever handed it over go on."""
        self._taken.release()

    def wait_until_taken(self) -> None:
        self._taken.acquire()


class InferenceThread:
    """Runs the inferences of all cameras, one at a time, or as many as are said to go side by side.

    A camera first takes its turn (first come, first served, so that a fast camera can't crowd out a slow one). Whoever
    has the turn prepares a frame while the inference before is still running, late enough for the frame to be new,
    early enough for the accelerator not to wait. Then it hands the inference over and gives the turn on.

    Attributes:
        inferences: done so far.
        busy_s: seconds spent in them, added up over those that ran side by side.
        failed: how many raised.
    """

    def __init__(self, at_once: int = 1) -> None:
        """Prepare; ``start`` begins.

        Args:
            at_once: how many may run side by side. ``wait_until_nearly_free`` knows one only.
        """
        self._condition = threading.Condition()
        self._counting = threading.Lock()
        self._waiting: deque[object] = deque()
        self._jobs: queue.SimpleQueue[Optional[_Job]] = queue.SimpleQueue()
        self._handing_over = threading.Lock()
        self._began_s: Optional[float] = None
        self._watchers = 0
        self._typical_s = 0.0
        self._stopped = False
        self.inferences = 0
        self.busy_s = 0.0
        self.failed = 0
        self._threads = [threading.Thread(target=self._run, name="inference", daemon=True) for _ in range(at_once)]

    @property
    def typical_s(self) -> float:
        """Seconds that an inference takes, as of late."""
        return self._typical_s

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, deadline_s: float) -> None:
        """Stop; returns at the monotonic time ``deadline_s`` at the latest."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        self._abandon()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait for the turn to prepare the next frame; False when the thread was stopped."""
        ticket = object()
        with self._condition:
            self._waiting.append(ticket)
            self._condition.wait_for(lambda: self._waiting[0] is ticket or self._stopped)
            stopped = self._stopped
        try:
            yield not stopped
        finally:
            with self._condition:
                self._waiting.remove(ticket)
                self._condition.notify_all()

    def wait_until_nearly_free(self, lead_s: float) -> None:
        """Wait until the running inference is expected to end in ``lead_s``; at once if none runs."""
        with self._condition:
            # Before the look at the running inference: whoever ends one looks for watchers after it.
            self._watchers += 1
            try:
                while (began_s := self._began_s) is not None and not self._stopped:
                    left_s = began_s + self._typical_s - lead_s - time.monotonic()
                    if left_s <= 0:
                        return
                    self._condition.wait(left_s)
            finally:
                self._watchers -= 1

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        """Hand over an inference; returns as soon as the thread has taken it."""
        pending: Pending[T] = Pending()

        def job() -> None:
            try:
                pending.set(work())
            except Exception as error:
                # It belongs to the camera that asked, whose thread raises it again.
                self.failed += 1
                pending.fail(error)

        handed_over = _Job(job, lambda: pending.fail(RuntimeError("the inference thread has been stopped")))
        with self._handing_over:
            self._jobs.put(handed_over)
            if self._stopped:
                self._abandon()
            handed_over.wait_until_taken()
        return pending

    def _abandon(self) -> None:
        """Give up what nobody will do any more, and let the thread end."""
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.give_up()
                    job.take()
        for _ in self._threads:
            self._jobs.put(None)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            began_s = self._began_s = time.monotonic()
            job.take()
            job.run()
            took_s = time.monotonic() - began_s
            with self._counting:
                self._typical_s += (took_s - self._typical_s) * (_GAIN if self.inferences else 1.0)
                self.inferences += 1
                self.busy_s += took_s
            self._began_s = None
            if self._watchers:
                with self._condition:
                    self._condition.notify_all()

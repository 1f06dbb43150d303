"""A detector that goes on with the CPU while the accelerator is away, and says so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Optional

from edge_app.accelerator.child_interpreter import AcceleratorLost
from edge_app.capture.backoff import Backoff
from edge_app.detector import Detector
from edge_app.records import Detections, Image

log = logging.getLogger(__name__)

Listener = Callable[[bool, str], None]

# An accelerator that worked for this long was a good one: the next failure is a new one, and it is soon tried again.
_STEADY_S = 60.0


class GuardedDetector:
    """Uses the accelerator while it answers, else the CPU, and tries the accelerator again and again.

    No frame waits for the accelerator to come back: the one that it failed on is done by the CPU at once.

    Attributes:
        name: of the model.
        input: of the model; both must have the same.
        failures: how often the accelerator was lost.
        reopened: how often it came back.
    """

    def __init__(
        self,
        opener: Callable[[], Detector],
        accelerated: Optional[Detector],
        fallback: Optional[Detector],
        backoff: Optional[Backoff] = None,
    ) -> None:
        """Make one.

        Args:
            opener: opens the accelerator; raises ``AcceleratorLost`` while it can't be.
            accelerated: the accelerator as opened at the start; None if it could not be.
            fallback: the uncompiled twin of the model on the CPU; None if there is none.
            backoff: pauses between attempts.
        """
        either = accelerated or fallback
        if either is None:
            raise ValueError("neither an accelerator nor a fallback")
        self.name, self.input = either.name, either.input
        self.failures = 0
        self.reopened = 0
        self._opener = opener
        self._accelerated = accelerated
        self._fallback = fallback
        self._either: Detector = either
        self._backoff = backoff or Backoff()
        self._listeners: list[Listener] = []
        self._problem: Optional[str] = None
        self._opened_s = time.monotonic()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._opening: Optional[threading.Thread] = None

    @property
    def in_use(self) -> Literal["accelerator", "cpu", "none"]:
        """What does the inferences now."""
        if self._accelerated is not None:
            return "accelerator"
        return "none" if self._fallback is None else "cpu"

    @property
    def has_fallback(self) -> bool:
        """Whether the CPU can stand in."""
        return self._fallback is not None

    @property
    def problem(self) -> Optional[str]:
        """Why the accelerator does not work now; None while it does."""
        return self._problem

    @property
    def runtime(self) -> str:
        """Name of the runtime of what does the inferences now; empty where nothing does or it has none."""
        return str(getattr(self._accelerated or self._fallback, "runtime", ""))

    def listen(self, listener: Listener) -> None:
        """Tell every change: whether the accelerator works, and a sentence. Told at once if it does not work now."""
        self._listeners.append(listener)
        if self._problem is not None:
            listener(False, self._problem)

    def report_missing(self, reason: str) -> None:
        """Say that the accelerator was not there at the start, and look for it."""
        self._change_to_fallback(reason)

    def preprocess(self, image: Image) -> tuple[Any, Any]:
        """Prepare a frame; the tensor fits both."""
        return self._either.preprocess(image)

    def invoke(self, tensor: Any) -> tuple[Detector, Any]:
        """Run the model on whatever works; outputs carry who made them, since the two may give theirs in other ways.

        Raises:
            AcceleratorLost: the accelerator is away and there is no fallback.
        """
        accelerated = self._accelerated
        if accelerated is not None:
            try:
                return accelerated, accelerated.invoke(tensor)
            except AcceleratorLost as error:
                self.failures += 1
                self._accelerated = None
                if time.monotonic() - self._opened_s > _STEADY_S:
                    self._backoff.reset()
                self._change_to_fallback(str(error))
        if self._fallback is None:
            raise AcceleratorLost(self._problem or "the accelerator is away")
        return self._fallback, self._fallback.invoke(tensor)

    def decode(self, outputs: tuple[Detector, Any], geometry: Any) -> Detections:
        """Turn raw outputs into people."""
        detector, content = outputs
        return detector.decode(content, geometry)

    def close(self) -> None:
        """Stop trying."""
        self._stopping.set()

    def _change_to_fallback(self, reason: str) -> None:
        goes_on = "people are found by the CPU, slower" if self._fallback is not None else "nobody is found until then"
        self._tell(False, f"{reason}; {goes_on}, and the accelerator is tried again")
        with self._lock:
            if self._opening is None:
                self._opening = threading.Thread(target=self._open_again, name="accelerator", daemon=True)
                self._opening.start()

    def _open_again(self) -> None:
        while not self._stopping.wait(self._backoff.next_pause_s()):
            since_s = time.monotonic()
            try:
                detector = self._opener()
            except AcceleratorLost as error:
                log.info("the accelerator is not back (%s)", error)
                continue
            if detector.input != self.input:
                log.error("the accelerator's model takes %s, the CPU's %s", detector.input, self.input)
                return
            self.reopened += 1
            self._opened_s = time.monotonic()
            with self._lock:
                # From here on a failure needs another thread: this one is about to end.
                self._opening = None
                self._accelerated = detector
            self._tell(True, f"the accelerator works again (opened in {time.monotonic() - since_s:.1f} s)")
            # The pauses go on growing for one that comes and goes.
            return

    def _tell(self, ok: bool, sentence: str) -> None:
        self._problem = None if ok else sentence
        for listener in self._listeners:
            listener(ok, sentence)

"""Self-calibration of a camera that runs: collects who walks by, in a thread of its own, and says how far it is."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Optional

from edge_app.calibration.self_calibrator import SelfCalibration, SelfCalibrator
from edge_app.errors import UserError
from edge_app.live import LiveState

log = logging.getLogger(__name__)

# Fitting takes a while; people's footsteps come slowly.
_FIT_EVERY_S = 10.0
# A few people may all be tall, or boxes of one spot all too large, and no statistics of theirs can tell: so long it
# watches before it is called sure, seconds of frame time.
_SHORTEST_S = 120.0
_WAIT_S = 1.0


class LiveSelfCalibration:
    """Watches one camera's tracks.

    Attributes:
        started_s: monotonic clock.
        frames: taken so far.
        result: the newest fit, sure or not; None while nobody was seen whole.
        fault: why it ended by itself, if it did.
    """

    def __init__(self, live: LiveState, image_size: tuple[int, int], hfov_deg: Optional[float]) -> None:
        """Begin.

        Raises:
            UserError: the field of view can't be.
        """
        self._live = live
        self._calibrator = SelfCalibrator(*image_size, hfov_deg=hfov_deg)
        self._stopping = threading.Event()
        self.started_s = time.monotonic()
        self.frames = 0
        self.result: Optional[SelfCalibration] = None
        self.fault: Optional[str] = None
        self._thread = threading.Thread(target=self._watch, name="self-calibration", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still collects."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def stop(self) -> None:
        """Stop collecting; the result stays."""
        self._stopping.set()
        self._thread.join(_WAIT_S)

    def _watch(self) -> None:
        sequence, next_fit_s = 0, time.monotonic() + _FIT_EVERY_S
        first_s: Optional[float] = None
        watched_s = 0.0
        try:
            while not self._stopping.is_set():
                snapshot = self._live.wait_newer(sequence, _WAIT_S)
                if snapshot is not None:
                    sequence = snapshot.sequence
                    time_s = snapshot.result.time_s
                    first_s = time_s if first_s is None else first_s
                    watched_s = time_s - first_s
                    self._calibrator.add(time_s, snapshot.result.tracks)
                    self.frames += 1
                else:
                    self._stopping.wait(0.1)
                if time.monotonic() >= next_fit_s:
                    self.result = self._fitted(watched_s)
                    next_fit_s = time.monotonic() + _FIT_EVERY_S
        except (UserError, ArithmeticError, ValueError) as error:
            log.exception("the self-calibration ended")
            self.fault = f"the self-calibration ended ({type(error).__name__}); see the log, then start it again"

    def _fitted(self, watched_s: float) -> Optional[SelfCalibration]:
        result = self._calibrator.result()
        if result is None or result.unsure or watched_s >= _SHORTEST_S:
            return result
        left_s = _SHORTEST_S - watched_s
        return replace(result, unsure=f"watched for {watched_s:.0f} s so far; it goes on for {left_s:.0f} s more")

"""When the frames of one camera were captured: from frame time to the clock."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right

# Frames that are looked back on: an hour at ten a second, in 0.6 MB; twice as many at most.
_MOST = 36_000


class CaptureTimes:
    """Puts moments of frame time on the clock, in the order in which they were.

    Frame time and clock drift apart by jitter, by a late machine and where a recording is played as fast as it goes. So
    each moment is where its own frame was captured, and what did not overlap in frame time does not on the clock.
    Captures are kept on the monotonic clock: where the wall clock is set meanwhile, all go by what it says now.
    """

    def __init__(self) -> None:
        self._time_s = array("d")
        self._captured_s = array("d")
        self._clock_s = 0.0

    def add(self, time_s: float, utc_s: float) -> None:
        """Take a frame, in order of frame time.

        Args:
            time_s: its frame time.
            utc_s: when it was captured, by the wall clock as it goes now.
        """
        self._clock_s = time.time() - time.monotonic()
        self._time_s.append(time_s)
        self._captured_s.append(utc_s - self._clock_s)
        if len(self._time_s) > 2 * _MOST:
            del self._time_s[:_MOST], self._captured_s[:_MOST]

    def utc_s(self, time_s: float) -> float:
        """Return when the frame of ``time_s`` was captured; between two frames and before the first kept, reckoned."""
        frame = max(0, bisect_right(self._time_s, time_s) - 1)
        return self._captured_s[frame] + (time_s - self._time_s[frame]) + self._clock_s

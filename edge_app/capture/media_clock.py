"""A live source's own timestamps on the process's monotonic clock."""

from __future__ import annotations

import math

# Timestamps and arrival drift apart by jitter and by buffers; more than this is another clock, or a jump of theirs.
_MOST_APART_S = 1.0


class MediaClock:
    """Gives frames times that never go back and keep the spacing that the source states.

    Arrival times jitter with the network, and a jittering clock makes a steady walker look unsteady. A source's
    timestamps are even, but start anywhere, may jump and may be missing. So timestamps are taken relative to the
    first arrival and tied to it anew whenever they leave it.
    """

    def __init__(self) -> None:
        self._offset_s = math.nan
        self._last_s = -math.inf

    def time_s(self, arrival_s: float, stamp_s: float | None) -> float:
        """Return a frame's time.

        Args:
            arrival_s: monotonic clock when the frame arrived.
            stamp_s: the source's own timestamp, seconds from anywhere; None or not finite where it has none.
        """
        chosen = arrival_s
        if stamp_s is not None and math.isfinite(stamp_s):
            if not abs(stamp_s + self._offset_s - arrival_s) <= _MOST_APART_S:
                self._offset_s = arrival_s - stamp_s
            chosen = stamp_s + self._offset_s
        if chosen <= self._last_s:
            # Repeated timestamps (some cameras send 0 for ever): the arrival is later than what was given out.
            chosen = max(arrival_s, self._last_s + 1e-3)
        self._last_s = chosen
        return chosen

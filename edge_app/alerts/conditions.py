"""When something has lasted, and when it is quiet."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Optional
from zoneinfo import ZoneInfo

from edge_app.alerts.config import QuietHours


class Sustained:
    """Holds once its reason has been there for ``sustained_s``, until it was away for ``clear_s``.

    A reason that is away for less than ``clear_s`` counts as still there: one frame without a detection does not
    start the count anew.
    """

    def __init__(self, sustained_s: float, clear_s: float) -> None:
        self._sustained_s = sustained_s
        self._clear_s = clear_s
        self.since_s: Optional[float] = None
        self._last_s = 0.0
        self.holds = False
        self._settle_s: Optional[float] = None

    def take_over(self, settle_s: float) -> None:
        """Hold, as before a restart, until the reason has not shown for ``settle_s`` (not less than ``clear_s``)."""
        self.holds = True
        self._settle_s = settle_s

    def give_up(self) -> None:
        """Hold no more: nothing can be said of the reason."""
        self.holds, self.since_s, self._settle_s = False, None, None

    def update(self, time_s: float, reason: bool) -> bool:
        """Say whether the reason is there at ``time_s``, and return whether the condition holds."""
        if self._settle_s is not None:
            self.since_s, self._last_s = time_s, time_s + self._settle_s - self._clear_s
            self._settle_s = None
        if reason:
            if self.since_s is None:
                self.since_s = time_s
            self._last_s = time_s
            self.holds = self.holds or time_s - self.since_s >= self._sustained_s
        elif self.since_s is not None and time_s - self._last_s >= self._clear_s:
            self.since_s = None
            self.holds = False
        return self.holds


class Quiet:
    """Tells whether a moment lies in the quiet hours."""

    def __init__(self, hours: Optional[QuietHours]) -> None:
        self._hours = hours

    def at(self, utc_s: float) -> bool:
        """Return whether it is quiet at ``utc_s``; the hours may pass midnight."""
        if self._hours is None:
            return False
        local = datetime.fromtimestamp(utc_s, timezone.utc).astimezone(ZoneInfo(self._hours.time_zone))
        now = f"{local.hour:02d}:{local.minute:02d}"
        start, end = self._hours.start, self._hours.end
        return start <= now < end if start <= end else now >= start or now < end

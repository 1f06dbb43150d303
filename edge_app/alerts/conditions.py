"""When something has lasted, and when it is quiet."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Optional
from zoneinfo import ZoneInfo

from edge_app.alerts.config import QuietHours


class Sustained:
    """Holds once its reason has been there for ``sustained_s``, until it was away for ``clear_s``.

    A reason that is away for less than ``clear_s`` counts as still there: one frame without a detection does not
    start the count anew.

    While nobody knows of the reason, the condition stays as it is, and that time counts neither for nor against it.
    Before it holds, not knowing for more than ``clear_s`` starts the count anew: nobody saw that the reason lasted.
    """

    def __init__(self, sustained_s: float, clear_s: float, *, again_s: float = 0.0, fresh_s: float = math.inf) -> None:
        """Make one that does not hold.

        Args:
            sustained_s: seconds for which the reason must be there.
            clear_s: seconds for which it must be away.
            again_s: seconds that a reason which lasts may take to show again after a time of which nothing is known.
            fresh_s: what was said of the reason is known for so long; nothing is, until the next ``update``.
        """
        self._sustained_s = sustained_s
        self._clear_s = clear_s
        self._again_s = again_s
        self._fresh_s = fresh_s
        # These two are on the time of ``update`` less ``_unknown_s``.
        self.since_s: Optional[float] = None
        self._last_s = 0.0
        self.holds = False
        self._settle_s: Optional[float] = None
        self._at_s: Optional[float] = None
        self._is_known = False
        self._unknown_s = 0.0
        self._unknown_now_s = 0.0

    def take_over(self, settle_s: float) -> None:
        """Hold, as before a restart, until the reason has not shown for ``settle_s`` (not less than ``clear_s``)."""
        self.holds = True
        self._settle_s = settle_s

    def give_up(self) -> None:
        """Hold no more: nothing can be said of the reason."""
        self.holds, self.since_s, self._settle_s = False, None, None

    def lose_sight(self) -> None:
        """Know nothing of the reason until the next ``update``."""
        self._is_known = False

    def update(self, time_s: float, reason: Optional[bool]) -> bool:
        """Say whether the reason is there at ``time_s``, None where nobody knows, and return whether it holds."""
        self._pass(time_s)
        self._is_known = reason is not None
        if reason is None:
            return self.holds
        known_s = time_s - self._unknown_s
        if self._settle_s is not None:
            self.since_s, self._last_s = known_s, known_s + self._settle_s - self._clear_s
            self._settle_s = None
        if self._unknown_now_s > 0 and self.holds:
            self._last_s = max(self._last_s, known_s + self._again_s)
        elif self._unknown_now_s > self._clear_s:
            self.since_s = None
        self._unknown_now_s = 0.0
        if reason:
            if self.since_s is None:
                self.since_s = known_s
            self._last_s = known_s
            self.holds = self.holds or known_s - self.since_s >= self._sustained_s
        elif self.since_s is not None and known_s - self._last_s >= self._clear_s:
            self.since_s = None
            self.holds = False
        return self.holds

    def _pass(self, time_s: float) -> None:
        """Let time go by, and count of it what is not known."""
        passed_s = 0.0 if self._at_s is None else time_s - self._at_s
        self._at_s = time_s
        unknown_s = max(0.0, passed_s - self._fresh_s) if self._is_known else passed_s
        self._unknown_s += unknown_s
        self._unknown_now_s += unknown_s


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

"""The audit log: who logged in, changed something, or looked at people who are not hidden. One JSON object a line.

What anybody can cause without an account is kept apart, and counted from the sixth time a minute on: nobody can push
out of the log what those with an account did.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_app.errors import UserError

FILE_NAME = "audit.log"
REFUSED_NAME = "refused.log"
_BYTES, _OLD_FILES = 1_000_000, 4
_OLD_REFUSED_FILES = 1
_WINDOW_S = 60.0
_SINGLY = 5
_MOST_ADDRESSES = 1000
_LONGEST = 300


log = logging.getLogger(__name__)


class _Telling(logging.handlers.RotatingFileHandler):
    """Raises what goes wrong, where logging would swallow it."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704 - called while an exception is handled


@dataclass
class _Window:
    """What was refused in a minute, of one kind.

    Attributes:
        start_s: of the minute, monotonic.
        singly: how many have a line of their own.
        counted: how many have none.
        addresses: of those without a line.
    """

    start_s: float
    singly: int = 0
    counted: int = 0
    addresses: set[str] = field(default_factory=set)


class AuditLog:
    """Appends to files that only their owner can read: five of a megabyte, and two for what was refused, at most."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the log.

        Raises:
            UserError: it cannot be written.
        """
        self.path = folder / FILE_NAME
        self.refused_path = folder / REFUSED_NAME
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._handler = _opened(self.path, _OLD_FILES)
        self._refused = _opened(self.refused_path, _OLD_REFUSED_FILES)

    def refuse(self, action: str, *, who: str, address: str, **details: Any) -> None:
        """Note what a visitor was refused: five a minute and action in full, the others as a count once it is over.

        Args:
            action: what was refused; one of few.
            who, address: who that claims to be, and from where.
            details: JSON values.
        """
        with self._lock:
            self._tell_counts()
            window = self._windows.setdefault(action, _Window(self._clock()))
            if window.singly >= _SINGLY:
                window.counted += 1
                if len(window.addresses) < _MOST_ADDRESSES:
                    window.addresses.add(address)
                return
            window.singly += 1
            self._append(self._refused, action, who, address, False, details)

    def write(self, action: str, *, who: str, address: str, must: bool = False, **details: Any) -> None:
        """Append one line; JSON keeps whatever a visitor sent from forging another one.

        Args:
            action: what was done, by somebody who may.
            who, address: by whom and from where.
            must: raise OSError when it can't be written, for what may not happen unnoted; else that is only logged,
                as a full disk must not lock everybody out.
            details: JSON values.
        """
        with self._lock:
            self._tell_counts()
        self._append(self._handler, action, who, address, must, details)

    def close(self) -> None:
        """Close the files, after what was counted."""
        with self._lock:
            self._tell_counts(everything=True)
        self._handler.close()
        self._refused.close()

    def _tell_counts(self, everything: bool = False) -> None:
        """Write down what was counted in the minutes that are over."""
        now_s = self._clock()
        for action, window in list(self._windows.items()):
            if not everything and now_s - window.start_s < _WINDOW_S:
                continue
            del self._windows[action]
            if window.counted:
                counts = {"more": window.counted, "addresses": len(window.addresses)}
                self._append(self._refused, action, "", "", False, counts)

    @staticmethod
    def _append(
        handler: logging.Handler, action: str, who: str, address: str, must: bool, details: dict[str, Any]
    ) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        entry = {"utc": now, "action": action, "who": who, "address": address, **details}
        line = json.dumps({key: value[:_LONGEST] if isinstance(value, str) else value for key, value in entry.items()})
        try:
            handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))
        except OSError:
            if must:
                raise
            log.exception("the audit log could not be written")


def _opened(path: Path, old_files: int) -> _Telling:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        handler = _Telling(path, maxBytes=_BYTES, backupCount=old_files, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"audit log {path} cannot be written ({error.strerror}); give a writable dashboard.folder"
        ) from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler

"""The audit log: who logged in, changed something, or looked at people who are not hidden. One JSON object a line.

What anybody can cause without an account is kept apart, and counted from the sixth time a minute on: nobody can push
out of the log what those with an account did.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Optional

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


class _Handler(logging.handlers.RotatingFileHandler):
    """Keeps its files to their owner, and raises what goes wrong, where logging would swallow it."""

    def _open(self) -> TextIOWrapper:
        # Each file is a new one after the rotation.
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_open_private)

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
    """Appends to files that only their owner can read: five of a megabyte, and two for what was refused, at most.

    A timer writes what was counted, as nothing else may happen once the minute is over.
    """

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
        self._timer: Optional[threading.Timer] = None
        self._closed = False
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
                self._wait_for_counts()
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
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._tell_counts(everything=True)
        self._handler.close()
        self._refused.close()

    def _wait_for_counts(self) -> None:
        """See to it that what was counted is written once its minute is over."""
        counted = [window.start_s for window in self._windows.values() if window.counted]
        if self._timer is not None or self._closed or not counted:
            return
        wait_s = max(0.0, min(counted) + _WINDOW_S - self._clock())
        self._timer = threading.Timer(wait_s, self._on_timer)
        self._timer.daemon = True
        self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            if not self._closed:
                self._tell_counts()
                self._wait_for_counts()

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


def _opened(path: Path, old_files: int) -> _Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Earlier versions left those that they had rotated readable to all.
        for old in (path.with_name(f"{path.name}.{number}") for number in range(1, old_files + 1)):
            if old.exists():
                old.chmod(0o600)
        handler = _Handler(path, maxBytes=_BYTES, backupCount=old_files, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"audit log {path} cannot be written ({error.strerror}); give a writable dashboard.folder"
        ) from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

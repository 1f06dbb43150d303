"""The audit log: who logged in, changed something, or looked at people who are not hidden. One JSON object a line."""

from __future__ import annotations

import json
import logging
import logging.handlers
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_app.errors import UserError

FILE_NAME = "audit.log"
_BYTES, _OLD_FILES = 1_000_000, 4
_LONGEST = 300


log = logging.getLogger(__name__)


class _Telling(logging.handlers.RotatingFileHandler):
    """Raises what goes wrong, where logging would swallow it."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704 - called while an exception is handled


class AuditLog:
    """Appends to a file that only its owner can read; five files of a megabyte at most."""

    def __init__(self, folder: Path) -> None:
        """Open the log.

        Raises:
            UserError: it cannot be written.
        """
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            self._handler = _Telling(self.path, maxBytes=_BYTES, backupCount=_OLD_FILES, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"audit log {self.path} cannot be written ({error.strerror}); give a writable dashboard.folder"
            ) from error
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, action: str, *, who: str, address: str, must: bool = False, **details: Any) -> None:
        """Append one line; JSON keeps whatever a visitor sent from forging another one.

        Args:
            action: what was done.
            who, address: by whom and from where.
            must: raise OSError when it can't be written, for what may not happen unnoted; else that is only logged,
                as a full disk must not lock everybody out.
            details: JSON values.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        entry = {"utc": now, "action": action, "who": who, "address": address, **details}
        line = json.dumps({key: value[:_LONGEST] if isinstance(value, str) else value for key, value in entry.items()})
        try:
            self._handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))
        except OSError:
            if must:
                raise
            log.exception("the audit log could not be written")

    def close(self) -> None:
        """Close the file."""
        self._handler.close()

"""The last lines of the log, for the system page; without secrets."""

from __future__ import annotations

import logging
from collections import deque

from edge_app.masking import MaskingFilter

_LINES = 200
_LONGEST = 400


class LogTail(logging.Handler):
    """Remembers the newest lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.addFilter(MaskingFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; of a traceback the last one."""
        lines = self.format(record).splitlines()
        kept = lines[:1] if len(lines) < 2 else [lines[0], lines[-1]]
        self._lines.extend(line[:_LONGEST] for line in kept)

    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        return list(self._lines)

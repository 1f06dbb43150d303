"""Log lines as JSON, one object a line, for machines that collect them."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone


class JsonFormatter(logging.Formatter):
    """Formats a record as ``{"time", "level", "logger", "message", "exception"}``; time is UTC, ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        content = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            # Where secrets were masked, that is what is left of the traceback.
            content["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)

"""Takes secrets out of text before it is logged, shown or sent."""

from __future__ import annotations

import logging
import re

from edge_app.secret import masked

MASK = "****"
# rtsp://user:password@camera/…; the user's name may stay, a password with '@' in it goes as a whole.
_IN_URL = re.compile(r"(?P<start>[a-z][a-z0-9+.-]*://[^\s/:@]*):(?P<secret>[^\s/]*)@", re.IGNORECASE)
_IN_PAIR = re.compile(
    r"(?P<start>\b(?:password|passwd|pwd|secret|token|api[_-]?key|authorization)[\"']?\s*[=:]\s*)"
    r"(?P<secret>\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^\s&,;}]+)",
    re.IGNORECASE,
)


def mask_secrets(text: str) -> str:
    """Return the text with known secrets, passwords of addresses and values of keys such as ``password=`` replaced."""
    text = masked(text)
    return _IN_PAIR.sub(rf"\g<start>{MASK}", _IN_URL.sub(rf"\g<start>:{MASK}@", text))


class MaskingFilter(logging.Filter):
    """Masks every record that passes, its traceback too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record; never hold it back."""
        record.msg, record.args = mask_secrets(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = mask_secrets(logging.Formatter().formatException(record.exc_info))
        return True

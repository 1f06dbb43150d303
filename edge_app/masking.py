"""Secrets end up in no log, page or message: known ones, credentials of addresses, and values of telling keys."""

from __future__ import annotations

import logging
import re

# Shorter ones would blot out ordinary words.
_SHORTEST_MASKED = 4
_known: set[str] = set()
MASK = "****"
# Up to the last @ before the next blank or quote: a password may itself hold @ and / and stay unescaped.
_IN_ADDRESS = re.compile(r"://[^\s\"']*@")
_QUOTED = r"\"[^\"]*\"|'[^']*'"
# Parameters of addresses and of GStreamer elements.
_PARAMETERS = "password|passwd|passphrase|pass|pwd|pw|token|secret|key|auth|session"
_IN_PARAMETER = re.compile(rf"\b(?P<start>[\w-]*(?:{_PARAMETERS})=)(?:{_QUOTED}|[^\s&]+)", re.IGNORECASE)
# Headers, JSON and Python's own way to show a dictionary; fewer words, as people write colons too.
_FIELDS = "password|passwd|pwd|secret|token|api[_-]?key|authorization"
_IN_FIELD = re.compile(
    rf"\b(?P<start>(?:{_FIELDS})[\"']?\s*[=:]\s*)(?:{_QUOTED}|(?:(?:bearer|basic)\s+)?[^\s&,;}}]+)", re.IGNORECASE
)


def keep_out_of_logs(secret: str) -> None:
    """Mask this text from now on."""
    if len(secret) >= _SHORTEST_MASKED:
        _known.add(secret)


def masked(text: str) -> str:
    """Return a text without known secrets, credentials of addresses, and values of keys such as ``password=``."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _IN_ADDRESS.sub(f"://{MASK}@", text)
    return _IN_FIELD.sub(rf"\g<start>{MASK}", _IN_PARAMETER.sub(rf"\g<start>{MASK}", text))


class MaskingFilter(logging.Filter):
    """Masks every record that passes, its traceback too; before formatting, which may escape what is looked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record; never hold it back."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # Python would print the arguments as they are.
            message = f"a log line of {record.name} does not fit its values"
        record.msg, record.args = masked(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = masked(record.exc_text) if record.exc_text else None
        record.stack_info = masked(record.stack_info) if record.stack_info else None
        return True


def mask_secrets_in_logs() -> None:
    """Let every handler of the root logger mask secrets."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, MaskingFilter) for one in handler.filters):
            handler.addFilter(MaskingFilter())

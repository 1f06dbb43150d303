"""Secrets: where they come from, and that they do not end up in the log."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from edge_app.errors import UserError

_KINDS = ("env:", "file:")
# Shorter ones would blot out ordinary words.
_SHORTEST_MASKED = 4
_known: set[str] = set()


def _reference(text: str) -> str:
    if not text.startswith(_KINDS) or not text.partition(":")[2]:
        # The text itself may be the secret, so it is not repeated.
        raise ValueError("must name where the secret is, env:NAME or file:PATH, and not be the secret itself")
    if text.startswith("file:") and not text.startswith("file:/"):
        raise ValueError("must name a file by its whole path, such as file:/etc/edge/mqtt-password")
    return text


SecretReference = Annotated[str, AfterValidator(_reference)]
"""Configuration value that names a secret: ``env:NAME`` or ``file:PATH``."""


def read_secret(reference: str, key: str) -> str:
    """Return the secret that a reference names, and mask it in the log from now on.

    Args:
        reference: ``env:NAME`` or ``file:PATH``.
        key: the configuration key that holds it, for the message.

    Raises:
        UserError: it is not there, or empty.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        secret = os.environ.get(name, "")
        if not secret:
            raise UserError(f"'{key}' names the environment variable {name}, which is not set; set it")
    else:
        try:
            secret = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"'{key}' names the file {name}, which cannot be read ({error}); mend its path") from error
        if not secret:
            raise UserError(f"'{key}' names the file {name}, which is empty; write the secret into it")
    keep_out_of_logs(secret)
    return secret


def keep_out_of_logs(secret: str) -> None:
    """Mask this text in the log from now on."""
    if len(secret) >= _SHORTEST_MASKED:
        _known.add(secret)


def masked(text: str) -> str:
    """Return a text with every known secret replaced by asterisks."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "****")
    # What looks like user and password in an address is masked without being known.
    return re.sub(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)", "****", text)


class MaskingFormatter(logging.Formatter):
    """Formats as another formatter does, tracebacks too, and masks secrets."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return masked(self._inner.format(record))


def mask_secrets_in_logs() -> None:
    """Let every handler of the root logger mask secrets."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, MaskingFormatter):
            handler.setFormatter(MaskingFormatter(handler.formatter or logging.Formatter()))

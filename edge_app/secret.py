"""Secrets: where they come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from edge_app.errors import UserError
from edge_app.masking import keep_out_of_logs

_KINDS = ("env:", "file:")


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
    """Return the secret that a reference names, and mask it everywhere from now on.

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

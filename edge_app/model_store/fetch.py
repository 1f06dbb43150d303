"""Brings a bundle from an address, with limits on size and time. Its signature makes it trusted, not the way here."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from edge_app.errors import UserError
from edge_app.model_store.bundle import MAX_BUNDLE_BYTES

_TIMEOUT_S = 30.0
_LONGEST_S = 1800.0
_BLOCK = 1 << 18


def is_address(source: str) -> bool:
    """Tell an http or https address from a file."""
    return source.lower().startswith(("http://", "https://"))


def fetch(address: str, target: Path) -> None:
    """Write what an address gives into a file.

    Raises:
        UserError: the address is none, can't be reached, or gives too much or too slowly.
        OSError: the file cannot be written.
    """
    try:
        shown = hide_password(address)
    except ValueError as error:
        # It may hold a password, so it is not shown.
        raise UserError(f"the address of the bundle is not valid ({error}); correct it") from error
    with target.open("xb") as stream:
        for block in _blocks(address, shown):
            stream.write(block)


def _blocks(address: str, shown: str) -> Iterator[bytes]:
    """Yield what an address gives; errors of whoever takes it are not told as errors of the network."""
    started = time.monotonic()
    size = 0
    opener = urllib.request.OpenerDirector()
    # No others: a redirection must not lead to a file of this device.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(address, timeout=_TIMEOUT_S) as answer:
            while block := answer.read(_BLOCK):
                size += len(block)
                if size > MAX_BUNDLE_BYTES:
                    raise UserError(f"{shown} gives more than the {MAX_BUNDLE_BYTES >> 20} MiB that are allowed")
                if time.monotonic() - started > _LONGEST_S:
                    raise UserError(f"{shown} takes longer than {_LONGEST_S / 60:.0f} minutes; try again later")
                yield block
    except urllib.error.HTTPError as error:
        raise UserError(f"{shown} answers {error.code} {error.reason}; check the address") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{shown} cannot be fetched ({reason}); check the address and the network") from error


def hide_password(address: str) -> str:
    """Return an address without user and password, for messages and the log.

    Raises:
        ValueError: it is no address.
    """
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

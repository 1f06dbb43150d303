"""Brings a bundle from an address, with limits on size and time. Its signature makes it trusted, not the way here."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from edge_app.errors import UserError
from edge_app.model_store.bundle import MAX_BUNDLE_BYTES

_TIMEOUT_S = 30.0
_LONGEST_S = 1800.0
_BLOCK = 1 << 18


def is_address(source: str) -> bool:
    """Tell an http or https address from a file."""
    return urlsplit(source).scheme.lower() in ("http", "https")


def fetch(address: str, target: Path) -> None:
    """Write what an address gives into a file.

    Raises:
        UserError: the address can't be reached, or gives too much or too slowly.
    """
    shown = hide_password(address)
    started = time.monotonic()
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
        with opener.open(address, timeout=_TIMEOUT_S) as answer, target.open("xb") as stream:
            while block := answer.read(_BLOCK):
                stream.write(block)
                if stream.tell() > MAX_BUNDLE_BYTES:
                    raise UserError(f"{shown} gives more than the {MAX_BUNDLE_BYTES >> 20} MiB that are allowed")
                if time.monotonic() - started > _LONGEST_S:
                    raise UserError(f"{shown} takes longer than {_LONGEST_S / 60:.0f} minutes; try again later")
    except urllib.error.HTTPError as error:
        raise UserError(f"{shown} answers {error.code} {error.reason}; check the address") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{shown} cannot be fetched ({reason}); check the address and the network") from error


def hide_password(address: str) -> str:
    """Return an address without user and password, for messages and the log."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

"""Posts messages to a web address, signed."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from typing import Optional
from urllib.parse import urlsplit

from edge_app import __version__
from edge_app.delivery.outbox import Waiting
from edge_app.delivery.worker import NotDeliveredError, RefusedError

_SECONDS_OF_HOUR = 3600.0
_MOST_ANSWER_BYTES = 4096
# Statuses of the 400s after which a later try can go well: timeout, too early, too many requests.
_LATER = (408, 425, 429)


class Webhook:
    """Sends by HTTP POST. Follows no redirect, and connects to no link-local or multicast address.

    Link-local addresses are where clouds hand out credentials; addresses of the own network are allowed, since
    receivers lie there. The address that was checked is the one that is connected to.
    """

    def __init__(self, url: str, secret: Optional[str], timeout_s: float, give_up_h: float) -> None:
        self.give_up_s = give_up_h * _SECONDS_OF_HOUR
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret = secret
        self._timeout_s = timeout_s

    def send(self, message: Waiting) -> None:
        """Post a message; see ``Sender``."""
        body = message.payload.encode()
        try:
            connection = self._connect()
            try:
                connection.request("POST", self._target, body, self._headers(message.uid, body))
                answer = connection.getresponse()
                answer.read(_MOST_ANSWER_BYTES)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise NotDeliveredError(f"{self._host} cannot be reached ({error or type(error).__name__})") from error
        _judge(self._host, answer.status)

    def _headers(self, uid: str, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"edge-social-distancing/{__version__}",
            "X-Edge-Delivery": uid,
        }
        if self._secret is not None:
            now = str(int(time.time()))
            headers["X-Edge-Timestamp"] = now
            headers["X-Edge-Signature"] = f"sha256={signature(self._secret, now, body)}"
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        """Connect to a checked address; the name stays what the certificate and the receiver are asked for."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        plain = socket.create_connection((checked_address(self._host, self._port), self._port), self._timeout_s)
        try:
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self._host) if self._tls else plain
        except BaseException:
            plain.close()
            raise
        return connection


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return HMAC-SHA256 over ``timestamp.body`` in hex; the receiver computes the same and compares."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def checked_address(host: str, port: int) -> str:
    """Resolve a name to an address that may be connected to.

    Raises:
        OSError: there is no such name.
        RefusedError: its address is link-local, multicast or unspecified.
    """
    addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not (mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified):
            return text
    raise RefusedError(f"{host} has only addresses that must not be connected to ({', '.join(addresses)})")


def _judge(host: str, status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise RefusedError(f"{host} answered {status}; redirects are not followed, give the final address")
    if 400 <= status < 500 and status not in _LATER:
        raise RefusedError(f"{host} refused the message with status {status}")
    raise NotDeliveredError(f"{host} answered {status}")

"""Serves HTTPS with an own certificate: Cheroot, since waitress does not speak TLS."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from edge_app.errors import UserError

log = logging.getLogger(__name__)

# What reading from or writing to a client raises that has closed the page, lost its network or never spoke TLS.
_GONE = (ConnectionError, socket.timeout, ssl.SSLError)
_TIMEOUT_S = 10
_QUEUE = 64
_HEADER_BYTES = 32 * 1024


def make_tls_server(
    app: Any, host: str, port: int, certificate: Path, key: Path, *, threads: int, body_bytes: int
) -> Any:
    """Return a Cheroot server that is bound to its address.

    Raises:
        UserError: Cheroot is not installed, or the certificate and its key cannot be used.
        OSError: the address cannot be bound.
    """
    check_pair(certificate, key)
    server = _cheroot().Server(
        (host, port), app, numthreads=threads, max=threads, timeout=_TIMEOUT_S, request_queue_size=_QUEUE,
        server_name="dashboard",
    )  # fmt: skip
    server.error_log = _log
    server.max_request_body_size = body_bytes
    server.max_request_header_size = _HEADER_BYTES
    server.ssl_adapter = _adapter(certificate, key)
    server.prepare()
    return server


def check_pair(certificate: Path, key: Path) -> None:
    """Check that HTTPS can be served with them.

    Raises:
        UserError: Cheroot is not installed, or the two cannot be used.
    """
    _cheroot()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"certificate {certificate} and key {key} cannot be used ({getattr(error, 'reason', None) or error}); "
            "give PEM files that belong together"
        ) from error


def _log(message: object = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """Take what Cheroot would write to standard error; a client that goes away is no error, here as in waitress."""
    if isinstance(sys.exc_info()[1], _GONE):
        log.debug("a client went away: %s", message)
    else:
        log.log(level, "%s", message, exc_info=traceback)


def _cheroot() -> Any:
    try:
        from cheroot import wsgi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError("dashboard.certificate needs the extra 'tls'; run 'pip install cheroot'") from error
    return wsgi


def _adapter(certificate: Path, key: Path) -> Any:
    from cheroot.ssl.builtin import BuiltinSSLAdapter  # noqa: PLC0415 - an extra

    class LateHandshake(BuiltinSSLAdapter):
        """Shakes hands in the thread that serves the connection: a silent visitor must not keep others out."""

        def wrap(self, sock: Any) -> Any:
            wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}

    adapter = LateHandshake(str(certificate), str(key))
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return adapter

"""Stands between FFmpeg and a source that was set over the network, so that it reaches cameras only.

FFmpeg follows redirects and playlists to wherever they lead, and asks for a name's address by itself. So it gets to the
network through this guard alone, on loopback: the guard resolves each host, checks what it found and connects to
that very address.

- ``http``, ``https``: FFmpeg takes the guard for its HTTP proxy. Each redirect is a request of its own, and is checked.
  FFmpeg may use no other protocol, and no format that names further files: HLS takes ``tcp://`` for the address of a
  playlist, which leads past any proxy. To the first host the guard speaks TLS where the address says so; certificates
  are not checked, as FFmpeg does not.
- ``rtsp``, ``rtsps``: the guard relays one connection to one host, and ends it when the host redirects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import selectors
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from typing import Optional, Union
from urllib.parse import SplitResult, urlsplit

from edge_app.capture.address import display_name
from edge_app.capture.source_hosts import ForbiddenHost, checked_addresses
from edge_app.errors import UserError

log = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_POLL_S = 0.05
_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 16
# What cameras send. Left out is what leads elsewhere: HLS, DASH, SDP, concat, IMF, ASF.
_FORMATS = "mpjpeg,mjpeg,jpeg_pipe,mpegts,mpeg,mov,matroska,flv,avi,h264,hevc,m4v,mpegvideo,ogg"
# FFmpeg drops carriage returns wherever they are, so they are dropped here before. Its ``atoi`` keeps the lower 32 bits
# of long numbers. A reply begins behind whatever was a body or a packet to it, so not at the start of a line only.
_REDIRECT = re.compile(rb"RTSP/(?:(?!RTSP/)[^ \t\n])*[ \t][ \t\v\f]*[+-]?(?:0*3\d\d|\d{10})")
# It drops the rest of longer lines.
_FFMPEG_LINE = 4096

_Socket = Union[socket.socket, ssl.SSLSocket]


class CameraGuard:
    """The way to one source.

    Attributes:
        url: what FFmpeg is to open.
        options: what FFmpeg is to open it with, as ``ffmpeg_options`` takes them.
        on_options: called once FFmpeg has taken its options, for that is when it connects.
        refusal: why a connection was refused, completing a sentence that begins with the source; None so far.
    """

    def __init__(self, uri: str, timeout_s: float) -> None:
        """Begin to listen on loopback.

        Args:
            uri: with the scheme rtsp, rtsps, http or https.
            timeout_s: for connecting.

        Raises:
            UserError: it has another scheme, or is no address.
        """
        self.refusal: Optional[str] = None
        self.on_options: Callable[[], None] = lambda: None
        self._timeout_s = timeout_s
        self._parts = _parts(uri)
        if self._parts.scheme.lower() not in _PORTS:
            raise UserError(
                f"source {display_name(uri)} cannot be kept to cameras, only rtsp, rtsps, http and https can; take "
                "source.only_cameras out of the configuration file"
            )
        if not self._parts.hostname:
            raise UserError(f"source {display_name(uri)} names no host; give the camera's address")
        self._is_rtsp = self._parts.scheme.lower().startswith("rtsp")
        self._sockets: set[_Socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._server = _Server(self)
        here = f"127.0.0.1:{self._server.server_address[1]}"
        if self._is_rtsp:
            self.url = _with(self._parts, "rtsp", here)
            self.options = "rtsp_transport;tcp|protocol_whitelist;tcp|format_whitelist;rtsp"
        else:
            _hide_no_proxy()
            host, port = self._origin()
            self.url = _with(self._parts, "http", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            self.options = f"http_proxy;http://{here}|protocol_whitelist;http,tcp|format_whitelist;{_FORMATS}"
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="camera-guard", daemon=True).start()

    def close(self) -> None:
        """End every connection."""
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket) -> None:
        """Serve a connection of FFmpeg until its end; runs in a thread of its own."""
        opened: list[_Socket] = [client]
        try:
            self._keep(client)
            if self._is_rtsp:
                self.on_options()
                opened.append(self._connect(*self._origin()))
                self._relay(client, opened[-1], _Replies())
                return
            host, port, head = _proxied(_head(client))
            if (host, port) == self._origin():
                self.on_options()
            opened.append(self._connect(host, port))
            opened[-1].sendall(head)
            self._relay(client, opened[-1], None)
        except ForbiddenHost as refusal:
            self.refusal = str(refusal)
            log.warning("a source that was set over the network %s; it is not connected", refusal)
            if not self._is_rtsp:
                with contextlib.suppress(OSError):
                    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (OSError, ValueError) as error:
            log.debug("a camera's connection ended: %s", error)
        finally:
            with self._lock:
                self._sockets.difference_update(opened)
            for one in opened[1:]:
                one.close()

    def _origin(self) -> tuple[str, int]:
        scheme = self._parts.scheme.lower()
        return self._parts.hostname or "", self._parts.port or _PORTS[scheme]

    def _connect(self, host: str, port: int) -> _Socket:
        """Connect to a host.

        Raises:
            ForbiddenHost: it is no camera.
            OSError: it does not answer.
        """
        latest: Optional[OSError] = None
        for address in checked_addresses(host):
            try:
                made: _Socket = socket.create_connection((address, port), self._timeout_s)
            except OSError as error:
                latest = error
                continue
            try:
                if (host, port) == self._origin() and self._parts.scheme.lower() in ("https", "rtsps"):
                    made = _unchecked_tls().wrap_socket(made, server_hostname=host)
                self._keep(made)
            except OSError:
                made.close()
                raise
            return made
        raise latest or OSError(f"{host} does not answer")

    def _keep(self, one: _Socket) -> None:
        with self._lock:
            if self._closed:
                raise OSError("the source is closed")
            self._sockets.add(one)

    def _relay(self, client: socket.socket, camera: _Socket, replies: Optional[_Replies]) -> None:
        """Pass bytes on in both directions until one side ends."""
        camera.settimeout(None)
        client.settimeout(None)
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(camera, selectors.EVENT_READ)
            while True:
                # TLS may hold decrypted bytes that no selector sees.
                held = isinstance(camera, ssl.SSLSocket) and camera.pending() > 0
                ready = {camera} if held else {key.fileobj for key, _ in selector.select()}
                if client in ready:
                    said = client.recv(_CHUNK)
                    if not said:
                        return
                    if replies is not None:
                        replies.asked(said)
                    camera.sendall(said)
                if camera in ready:
                    answer = _received(camera)
                    if answer is None:
                        continue
                    if not answer:
                        return
                    client.sendall(answer if replies is None else replies.checked(answer))


class _Replies:
    """What an RTSP server says until the picture begins: nothing of it may be a redirect."""

    def __init__(self) -> None:
        self._request = b""
        self._latest = b""
        self._playing = False

    def asked(self, said: bytes) -> None:
        """Take what FFmpeg sends; after PLAY it follows no redirect any more."""
        if self._playing:
            return
        self._request += said
        if self._request.endswith(b"\r\n\r\n"):
            self._playing = self._request.startswith(b"PLAY ")
            self._request = b""

    def checked(self, said: bytes) -> bytes:
        """Return what may be passed on: all of it.

        The beginning of what may become a redirect is passed on too, since FFmpeg does nothing before the line's end.

        Raises:
            ForbiddenHost: it is a redirect, or makes one of what was said before.
        """
        if self._playing:
            return said
        self._latest += said.replace(b"\r", b"")
        if _REDIRECT.search(self._latest):
            raise ForbiddenHost("redirects to another address; give the camera's own address")
        self._latest = self._latest[-_FFMPEG_LINE:]
        return said


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, guard: CameraGuard) -> None:
        self.guard = guard
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.guard.serve(self.request)


def _parts(uri: str) -> SplitResult:
    """Take an address apart.

    Raises:
        UserError: it is none.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        # What the library says may hold a part of a password.
        raise UserError(f"source {display_name(uri)} is no address; correct its host and port") from None
    return parts


def _received(camera: _Socket) -> Optional[bytes]:
    """Return what a camera says, empty at its end, and None where TLS had something to say only, such as a ticket."""
    camera.settimeout(0.0)
    try:
        return camera.recv(_CHUNK)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
        return None
    finally:
        camera.settimeout(None)


def _head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        said = client.recv(_CHUNK)
        if not said or len(head) > _LONGEST_HEAD:
            raise OSError("no request came")
        head += said
    return head


def _proxied(head: bytes) -> tuple[str, int, bytes]:
    """Take a proxy's request apart: where it is to go, and what is said there.

    Raises:
        ValueError: it is none.
    """
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.decode("latin-1").split(" ")
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("FFmpeg asks for something else than http")
    # As FFmpeg wrote it: put together from its parts it would lose an empty query, and gain slashes in some Pythons.
    path = re.sub("[^/?#]*", "", target.partition("://")[2], count=1).partition("#")[0]
    path = path if path.startswith("/") else f"/{path}"
    kept = [
        name for name in rest.split(b"\r\n") if not re.match(rb"(connection|proxy-[a-z-]+)\s*:", name, re.IGNORECASE)
    ]
    # Each request comes by itself, so that each is checked.
    lines = [f"{method} {path} {version}".encode("latin-1"), b"Connection: close", *kept]
    return parts.hostname, parts.port or _PORTS["http"], b"\r\n".join(lines)


def _with(parts: SplitResult, scheme: str, place: str) -> str:
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(scheme=scheme, netloc=f"{user}{at}{place}").geturl()


def _unchecked_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Cameras have certificates that they made themselves.
    context.verify_mode = ssl.CERT_NONE
    return context


def _hide_no_proxy() -> None:
    """Keep FFmpeg from going past the guard: it reads the small name only, whereas Python reads both."""
    value = os.environ.pop("no_proxy", None)
    if value is not None:
        os.environ.setdefault("NO_PROXY", value)

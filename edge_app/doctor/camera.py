"""The configured source: is it there, and may it be read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

from edge_app.capture.address import display_name, is_there
from edge_app.doctor.findings import Finding, ok

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_TIMEOUT_S = 3.0


def check_source(
    uri: Optional[str],
    root: Path = Path("/"),
    may_read: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK),
) -> Finding:
    """Check a source without decoding it: a camera may be in use by the application itself."""
    if uri is None:
        return Finding("camera", "note", "no source is configured", "set source.uri, or give --source to 'run'")
    try:
        scheme = urlsplit(uri).scheme.lower()
    except ValueError:
        return Finding("camera", "error", f"source {display_name(uri)} is no address", "correct its host in source.uri")
    if scheme in _PORTS:
        return _check_address(uri, scheme)
    if uri.isdigit() or uri.startswith("/dev/video"):
        return _check_device(uri, root, may_read)
    if scheme or "!" in uri:
        return Finding("camera", "note", "the source is opened by 'run' only, so it was not checked")
    return _check_path(Path(uri), may_read)


def _check_device(uri: str, root: Path, may_read: Callable[[Path], bool]) -> Finding:
    node = root / (f"dev/video{uri}" if uri.isdigit() else uri.lstrip("/"))
    if not node.exists():
        found = sorted(path.name for path in (root / "dev").glob("video[0-9]*"))
        there = f"there are {', '.join(found)}" if found else "no camera is there"
        return Finding("camera", "error", f"camera {uri} does not exist ({there})", "plug it in, or correct source.uri")
    if not may_read(node):
        fix = "add the user to group video (sudo usermod -aG video USER) and log in again"
        return Finding("camera", "error", f"camera {node} may not be read by this user", fix)
    return ok("camera", f"camera {node} is there and may be read")


def _check_path(path: Path, may_read: Callable[[Path], bool]) -> Finding:
    if not is_there(path):
        return Finding("camera", "error", f"source {path} does not exist", "correct source.uri")
    if not may_read(path):
        return Finding("camera", "error", f"source {path} may not be read by this user", "correct its permissions")
    return ok("camera", f"source {path.name} is there")


def _check_address(uri: str, scheme: str) -> Finding:
    """Connect to a network camera; user and password stay out of every sentence."""
    parts = urlsplit(uri)
    try:
        host, port = parts.hostname or "", parts.port or _PORTS[scheme]
    except ValueError:
        host, port = "", 0
    if not host:
        return Finding("camera", "error", f"the {scheme} address names no host", "correct source.uri")
    try:
        socket.create_connection((host, port), _TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "check that the camera is on, its address, and the network between"
        return Finding("camera", "error", f"network camera {host}:{port} does not answer ({reason})", fix)
    return ok("camera", f"network camera {host}:{port} answers")

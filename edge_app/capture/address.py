"""What a person writes as a source, taken apart; and how it may be shown without what must stay secret."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edge_app.errors import UserError, did_you_mean
from edge_app.masking import MASK, masked

SourceKind = Literal["file", "folder", "device", "csi", "stream", "gstreamer"]

# A stream of these may come to this very device: udp://:5000.
_MAY_LISTEN = ("udp", "tcp", "srt", "rtp")
_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt", "rtp")


def display_name(uri: str) -> str:
    """Return a source's name for people: a file's name without its folders, an address without its credentials."""
    if "://" in uri or " ! " in uri:
        return masked(uri).replace(f"{MASK}@", "")
    return uri if uri.startswith("/dev/") else Path(uri).name


@dataclass(frozen=True)
class SourceAddress:
    """A source.

    Attributes:
        kind: how it is opened.
        text: as it was given, with its secrets; never show it.
        name: for people.
    """

    kind: SourceKind
    text: str
    name: str

    @property
    def is_live(self) -> bool:
        """Whether the pictures come at their own time, so that what is missed is gone."""
        return self.kind not in ("file", "folder")


def parse_address(text: str) -> SourceAddress:
    """Tell what kind of source a text names.

    Raises:
        UserError: it names none.
    """
    return SourceAddress(_kind(text), text, display_name(text))


def _kind(text: str) -> SourceKind:
    if not text.strip():
        raise UserError("the source is empty; name a file, a folder, a camera or a stream")
    if " ! " in text:
        return "gstreamer"
    if text.isdigit() or re.fullmatch(r"/dev/video\d+", text) or text.startswith("/dev/v4l/"):
        return "device"
    if text.startswith("csi:"):
        if not text[4:].isdigit():
            raise UserError(f"source {text} does not name a CSI camera; write csi:0 for the first one")
        return "csi"
    if "://" in text:
        scheme = text.split("://", 1)[0].lower()
        if scheme not in _STREAM_SCHEMES:
            hint = did_you_mean(scheme, _STREAM_SCHEMES) or f" (known: {', '.join(_STREAM_SCHEMES)})"
            raise UserError(f"source {display_name(text)} has the unknown scheme '{scheme}'{hint}; correct it")
        if scheme not in _MAY_LISTEN and not _host_of(text):
            raise UserError(f"source {display_name(text)} names no host; give the camera's address")
        return "stream"
    return "folder" if is_there(Path(text)) and Path(text).is_dir() else "file"


def _host_of(text: str) -> str:
    try:
        return urlsplit(text).hostname or ""
    except ValueError as error:
        raise UserError(f"source {display_name(text)} is no address; correct its host") from error


def is_there(path: Path) -> bool:
    """Tell whether a path exists; a text that is too long for one does not."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False

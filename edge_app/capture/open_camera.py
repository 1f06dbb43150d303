"""One way to open any source for live use."""

from __future__ import annotations

from pathlib import Path

from edge_app.capture.address import SourceAddress, parse_address
from edge_app.capture.folder import ImageFolder
from edge_app.capture.opencv_stream import OpenCVStream
from edge_app.config import SourceConfig
from edge_app.errors import UserError
from edge_app.source import Source, VideoFile


def source_address(config: SourceConfig) -> SourceAddress:
    """Return the configured source.

    Raises:
        UserError: there is none, or it is of no known kind.
    """
    if config.uri is None:
        raise UserError("no source given; name one with --source or under 'source.uri' in the configuration")
    return parse_address(config.uri)


def open_camera(config: SourceConfig) -> Source:
    """Open the configured source, of whatever kind.

    Raises:
        UserError: it can't be used before a person changes something.
        SourceLost: a camera or stream does not answer now.
    """
    address = source_address(config)
    if address.kind == "file":
        return VideoFile(Path(address.text), fps=config.fps, loop=config.loop)
    if address.kind == "folder":
        return ImageFolder(Path(address.text), fps=config.fps, loop=config.loop)
    return OpenCVStream(address, config.stall_timeout_s, config.size, config.max_fps, config.only_cameras)

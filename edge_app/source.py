"""Recorded video as a source of frames, once or looped. Cameras and streams are in ``edge_app/capture``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Protocol

import cv2
import numpy as np

from edge_app.capture.address import is_there, parse_address
from edge_app.capture.ffmpeg_options import OptionsBusyError, ffmpeg_options
from edge_app.config import SourceConfig
from edge_app.errors import UserError
from edge_app.records import Frame, Image

# A container's frame count is an estimate; a file that ends earlier than this part of it is called truncated.
_COMPLETE_PART = 0.98


class Source(Protocol):
    """What the pipeline reads frames from."""

    name: str
    fps: float
    frame_count: Optional[int]
    width: int
    height: int

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames in order of time."""

    def close(self) -> None:
        """Release the source; no more frames come."""


def open_source(config: SourceConfig, *, uri: Optional[str] = None) -> VideoFile:
    """Open the recorded video of a configuration; ``uri`` (the command line) wins over the configuration.

    Raises:
        UserError: there is no source, it is not a recorded video, or it cannot be opened.
    """
    chosen = uri if uri is not None else config.uri
    if chosen is None:
        raise UserError("no source given; name a video file with --source or under 'source.uri' in the configuration")
    address = parse_address(chosen)
    if address.kind != "file":
        raise UserError(f"source {address.name} is not a video file; cameras, streams and folders are for 'run'")
    return VideoFile(Path(chosen), fps=config.fps, loop=config.loop)


class VideoFile:
    """A recorded video, read with OpenCV.

    Attributes:
        name: the file's name.
        fps: true frame rate: the given one, else the container's.
        frame_count: frames that the container promises, None when it does not say.
        width, height: pixels.
        decoded: frames that were decoded so far.
    """

    def __init__(self, path: Path, *, fps: Optional[float] = None, loop: bool = False) -> None:
        """Open the file.

        Args:
            path: the video.
            fps: true frame rate where the container states a wrong one; times are then index / fps.
            loop: start again at the end, with times and indices that go on growing.

        Raises:
            UserError: the file is missing, empty, not a video, or has no decodable frame.
        """
        self._path = path
        self._loop = loop
        self.name = path.name
        self._capture = _open_capture(path)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        container_fps = self._capture.get(cv2.CAP_PROP_FPS)
        if fps is None and not (np.isfinite(container_fps) and 0 < container_fps <= 1000):
            raise UserError(f"video {path} does not state its frame rate; give it under 'source.fps'")
        self._use_timestamps = fps is None
        self.fps = fps if fps is not None else float(container_fps)
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count: Optional[int] = promised if promised > 0 else None
        self.decoded = 0
        self._index = 0
        self._index_in_pass = 0
        self._last_time_s = -np.inf
        self._offset_s = 0.0

    @property
    def truncated(self) -> bool:
        """Whether reading to the end gave clearly fewer frames than the container promises."""
        if self.frame_count is None:
            return False
        return self.decoded < min(self.frame_count - 2, self.frame_count * _COMPLETE_PART)

    @property
    def duration_s(self) -> float:
        """Seconds from the first decoded frame to the end of the last one."""
        return self._last_time_s + 1.0 / self.fps if self.decoded else 0.0

    def skip(self, count: int) -> int:
        """Pass over frames without handing them out, for a resumed analysis; returns how many there were."""
        skipped = 0
        while skipped < count and self._capture.grab():
            self._advance()
            skipped += 1
        return skipped

    def frame_at(self, index: int) -> Image:
        """Return the picture (H, W, 3) of a frame that was not decoded yet; those before it are passed over.

        Raises:
            UserError: the file does not have it (any more).
        """
        self.skip(index - self.decoded)
        ok, image = self._capture.read()
        if not ok:
            raise UserError(
                f"frame {index + 1} of {self._path} was there and is gone; leave the video until all is done"
            )
        self._advance()
        return image.astype(np.uint8, copy=False)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; for a looping file without end."""
        while True:
            before = self.decoded
            while True:
                ok, image = self._capture.read()
                if not ok:
                    break
                index, time_s = self._advance()
                yield Frame(image.astype(np.uint8, copy=False), index, time_s)
            if not self._loop or self.decoded == before:
                return
            self._rewind()

    def close(self) -> None:
        """Release the file."""
        self._capture.release()

    def _advance(self) -> tuple[int, float]:
        """Count the frame that was just decoded and return its index and time."""
        index = self._index
        time_s = self._offset_s + self._media_time_s()
        if time_s <= self._last_time_s:
            # Some containers repeat or lose timestamps; time must not stand still for a moving person.
            time_s = self._last_time_s + 1.0 / self.fps
        self._last_time_s = time_s
        self._index += 1
        self._index_in_pass += 1
        self.decoded += 1
        return index, time_s

    def _media_time_s(self) -> float:
        if self._use_timestamps:
            position_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if np.isfinite(position_s) and position_s >= 0:
                return float(position_s)
        return self._index_in_pass / self.fps

    def _rewind(self) -> None:
        self._capture.release()
        # It could be decoded before; only where it can't be opened any more is the reason looked for.
        capture = _open_file(self._path)
        self._capture = capture if capture.isOpened() else _open_capture(self._path)
        self._index_in_pass = 0
        self._offset_s = self._last_time_s + 1.0 / self.fps


def _open_capture(path: Path) -> cv2.VideoCapture:
    if not is_there(path):
        # A path has lost one of the two slashes; what may hold a password is not repeated.
        if scheme := re.match(r"([a-z]+):/", str(path)):
            raise UserError(f"a recorded file is wanted, not a stream ({scheme[1]}:); watch that with 'run --source'")
        raise UserError(f"video {path} does not exist; check the path (of a configured one: 'source.uri')")
    if not path.is_file():
        raise UserError(f"{path} is not a video file; give the path of a recorded video")
    try:
        with path.open("rb") as stream:
            is_empty = not stream.read(1)
    except OSError as error:
        raise UserError(f"video {path} cannot be read ({error.strerror}); check its permissions") from error
    if is_empty:
        raise UserError(f"video {path} is empty; record or copy it again")
    capture = _open_file(path)
    if not capture.isOpened():
        raise UserError(f"{path} is not a video that can be decoded, or its header is cut off; record or copy it again")
    if not capture.grab():
        raise UserError(f"no frame of {path} can be decoded; record or copy it again")
    # Back to the first frame: seeking is not exact in every container, opening again is.
    capture.release()
    return _open_file(path)


def _open_file(path: Path) -> cv2.VideoCapture:
    # What a camera of another thread is opened with would keep FFmpeg from files.
    try:
        with ffmpeg_options():
            return cv2.VideoCapture(str(path))
    except OptionsBusyError:
        raise UserError(f"video {path} cannot be opened while another source hangs in opening; try again") from None

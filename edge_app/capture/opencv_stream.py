"""Cameras and network streams through OpenCV's backends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np

from edge_app.capture.address import SourceAddress
from edge_app.capture.camera_guard import CameraGuard
from edge_app.capture.ffmpeg_options import OptionsBusyError, ffmpeg_options
from edge_app.capture.media_clock import MediaClock
from edge_app.errors import UserError
from edge_app.records import Frame

# A stream without a frame rate; only used to say how long one frame lasts.
_USUAL_FPS = 25.0


class SourceLost(Exception):
    """A live source gives no more frames; the message is a sentence for people, without secrets."""


class OpenCVStream:
    """One connection to a camera or stream; after it is lost another one is made.

    FFmpeg gives up opening and reading after ``timeout_s`` by itself. Other backends may hang: whoever reads must be
    able to leave this object behind.

    Attributes:
        name: for people, without secrets.
        fps: as the source states it.
        frame_count: None, a live source has no end.
        width, height: pixels, as of the latest frame.
    """

    def __init__(
        self,
        address: SourceAddress,
        timeout_s: float,
        size: Optional[tuple[int, int]] = None,
        fps: float | None = None,
        only_cameras: bool = False,
    ) -> None:
        """Connect.

        Args:
            address: device, csi, stream or gstreamer.
            timeout_s: for opening and for each frame, where the backend can do that.
            size: width and height to ask a USB camera for.
            fps: frame rate to ask a USB camera for.
            only_cameras: let a stream lead to cameras only, by redirects and playlists too.

        Raises:
            UserError: this build of OpenCV cannot open such a source at all, or ``only_cameras`` cannot be kept.
            SourceLost: nothing answers.
        """
        self.name = address.name
        self.frame_count: Optional[int] = None
        self._guard = CameraGuard(address.text, timeout_s) if only_cameras and address.kind == "stream" else None
        try:
            self._capture = _open(address, timeout_s, self._guard)
            if not self._capture.isOpened():
                raise SourceLost(_why_closed(address, self._guard))
        except BaseException:
            self._close_guard()
            raise
        if address.kind == "device":
            # Motion JPEG first: raw pictures of more than VGA do not fit through USB 2 at full rate.
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))  # type: ignore[attr-defined]
            if size is not None:
                self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
                self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
            if fps is not None:
                self._capture.set(cv2.CAP_PROP_FPS, fps)
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(stated) if np.isfinite(stated) and 0 < stated <= 240 else _USUAL_FPS
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come; times are on the monotonic clock, spaced as the source says.

        Raises:
            SourceLost: no more frames come.
        """
        clock = MediaClock()
        index = 0
        while True:
            ok, image = self._capture.read()
            arrival_s = time.monotonic()
            if not ok or image is None:
                raise SourceLost(f"the picture of {self.name} stopped; check the camera and its cable or network")
            if image.ndim != 3 or image.shape[2] != 3:
                raise SourceLost(f"{self.name} gives pictures without colour; set the camera to a colour format")
            self.height, self.width = image.shape[:2]
            stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            time_s = clock.time_s(arrival_s, stamp_s if stamp_s > 0 else None)
            yield Frame(image.astype(np.uint8, copy=False), index, time_s)
            index += 1

    def close(self) -> None:
        """Disconnect."""
        self._capture.release()
        self._close_guard()

    def _close_guard(self) -> None:
        if self._guard is not None:
            self._guard.close()


def _open(address: SourceAddress, timeout_s: float, guard: Optional[CameraGuard]) -> Any:
    if address.kind in ("device", "csi"):
        path = _device_path(address)
        if not path.exists():
            raise SourceLost(f"camera {path} is not there; plug it in, or list what is there with: ls /dev/video*")
        return cv2.VideoCapture(str(path.resolve()), cv2.CAP_V4L2)
    if address.kind == "gstreamer":
        if not _has_gstreamer():
            raise UserError(
                f"source {address.name} needs an OpenCV that was built with GStreamer, and the one from PyPI was not; "
                "use the system's package (Debian: python3-opencv in an environment with --system-site-packages)"
            )
        return cv2.VideoCapture(address.text, cv2.CAP_GSTREAMER)
    try:
        return _open_with_ffmpeg(address, timeout_s, guard)
    except OptionsBusyError:
        raise SourceLost(f"{address.name} cannot be opened while another source hangs in opening") from None


def _open_with_ffmpeg(address: SourceAddress, timeout_s: float, guard: Optional[CameraGuard]) -> Any:
    timeout_ms = int(1000 * timeout_s)
    with ffmpeg_options(guard.options if guard else "") as has_options:
        if guard is not None:
            guard.on_options = has_options
        return cv2.VideoCapture(
            guard.url if guard else address.text,
            cv2.CAP_FFMPEG,
            [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms],
        )


def _device_path(address: SourceAddress) -> Path:
    """Return the device file; a Coral Dev Board's CSI camera is a V4L2 device too (not run on hardware)."""
    number = address.text[len("csi:") :] if address.kind == "csi" else address.text
    return Path(f"/dev/video{number}") if number.isdigit() else Path(number)


def _has_gstreamer() -> bool:
    lines = [line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GStreamer:")]
    return any("YES" in line for line in lines)


def _why_closed(address: SourceAddress, guard: Optional[CameraGuard]) -> str:
    if address.kind in ("device", "csi"):
        path = _device_path(address)
        return f"camera {path} cannot be opened; close other programs that use it and check its permissions"
    if guard is not None and guard.refusal is not None:
        return f"{address.name} {guard.refusal} (source.only_cameras is set)"
    return f"{address.name} does not answer; check address, password, network and that the camera is on"

"""Writes annotated video: H.264 through FFmpeg where it is installed, else OpenCV's MPEG-4."""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, Optional

import cv2

from edge_app.records import Image

log = logging.getLogger(__name__)


class AnnotatedVideoWriter:
    """Writes one video; a context manager. The file appears under its name only when it is complete.

    Attributes:
        codec: ``h264`` (plays in browsers) or ``mpeg4`` (plays in players), decided on entering.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        """Prepare a writer for (width, height) frames at ``fps`` frames a second."""
        self._path = path
        self._unfinished = path.with_name(f"unfinished_{path.name}")
        self._size = size
        self._fps = fps
        self._ffmpeg: Optional[subprocess.Popen[bytes]] = None
        self._opencv: Optional[cv2.VideoWriter] = None
        self._errors: Optional[IO[bytes]] = None
        self.codec = ""

    def __enter__(self) -> AnnotatedVideoWriter:
        program = shutil.which("ffmpeg")
        if program is not None:
            self._errors = tempfile.TemporaryFile()
            self._ffmpeg = subprocess.Popen(
                self._command(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                # Ctrl-C ends this program first.
                start_new_session=True,
            )
            self.codec = "h264"
        else:
            log.info("FFmpeg is not installed: the video is written as MPEG-4, which browsers do not play")
            writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
            if not writer.isOpened():
                raise OSError(None, f"video {self._path.name} cannot be encoded by OpenCV")
            self._opencv = writer
            self.codec = "mpeg4"
        return self

    def __exit__(self, kind: Any, *_exception: Any) -> None:
        try:
            self._finish(failed=kind is not None)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def write(self, picture: Image) -> None:
        """Append one (height, width, 3) BGR frame."""
        if self._ffmpeg is not None and self._ffmpeg.stdin is not None:
            try:
                self._ffmpeg.stdin.write(picture.tobytes())
            except BrokenPipeError:
                self._ffmpeg.wait()
                raise OSError(None, f"FFmpeg stopped: {self._last_error()}") from None
        elif self._opencv is not None:
            self._opencv.write(picture)

    def _finish(self, *, failed: bool) -> None:
        if self._opencv is not None:
            self._opencv.release()
        if self._ffmpeg is not None:
            if failed:
                self._ffmpeg.kill()
            self._ffmpeg.communicate()
            if not failed and self._ffmpeg.returncode != 0:
                raise OSError(None, f"FFmpeg failed: {self._last_error()}")
        if not failed:
            self._unfinished.replace(self._path)

    def _last_error(self) -> str:
        if self._errors is None:
            return "no reason given"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no reason given"

    def _command(self, program: str) -> list[str]:
        width, height = self._size
        return [
            program, "-nostdin", "-hide_banner", "-loglevel", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", f"{self._fps:.6f}", "-i", "-",
            "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "21",
            # yuv420p needs even sides.
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
            str(self._unfinished),
        ]  # fmt: skip

"""The pictures of an analysis: the annotated video and a still of the worst moment, people hidden in both."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Optional

import cv2

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.records import FrameResult
from edge_app.render import AnnotatedVideoWriter, BirdsEye, annotate
from edge_app.source import VideoFile

_VIDEO = "annotated.mp4"
_STILL_QUALITY = 85


class Pictures:
    """Makes pictures while frames come; a context manager, since a video must be completed or dropped.

    Attributes:
        worst_jpeg: annotated still of the first frame with the most pairs in violation, None without any.
        codec: of the annotated video, None without one.
        file_names: files that are complete after the context was left.
    """

    def __init__(
        self, folder: Path, camera: Optional[CameraModel], config: Config, video: VideoFile, every: int, annotate: bool
    ) -> None:
        """Make one.

        Args:
            folder: where the annotated video goes.
            camera: the calibration, for the bird's-eye view.
            config: with what hides people.
            video: read by nobody else, and closed here. A result comes when its frame has long been looked at, and
                pictures of seconds don't fit into memory, so that those which are shown are read a second time.
            every: as in ``AnalysisOptions``.
            annotate: write the annotated video.
        """
        self._privacy = config.privacy.people
        self._video = video
        size = video.width, video.height
        self._birdseye = BirdsEye(camera, size) if camera is not None else None
        self._writer = AnnotatedVideoWriter(folder / _VIDEO, size, video.fps / every) if annotate else None
        self._stack = ExitStack()
        self._stack.callback(video.close)
        self._most_pairs = 0
        self.worst_jpeg: Optional[bytes] = None

    @property
    def codec(self) -> Optional[str]:
        """Codec of the annotated video."""
        return self._writer.codec if self._writer is not None else None

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files that this writes."""
        return (_VIDEO,) if self._writer is not None else ()

    def __enter__(self) -> Pictures:
        if self._writer is not None:
            self._stack.enter_context(self._writer)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def add(self, result: FrameResult) -> None:
        """Take the result of one frame; draws only where a picture is wanted.

        Raises:
            UserError: the video can't be read any more.
        """
        is_worst = len(result.violating_pairs) > self._most_pairs
        if not is_worst and self._writer is None:
            return
        picture = annotate(self._video.frame_at(result.index), result, self._birdseye, self._privacy)
        if self._writer is not None:
            self._writer.write(picture)
        if is_worst:
            self._most_pairs = len(result.violating_pairs)
            ok, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _STILL_QUALITY])
            if not ok:
                raise RuntimeError("OpenCV could not encode a JPEG")
            self.worst_jpeg = encoded.tobytes()

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as JSON values; an annotated video can't be gone on with."""
        still = base64.b64encode(self.worst_jpeg).decode("ascii") if self.worst_jpeg is not None else None
        return {"most_pairs": self._most_pairs, "worst_jpeg": still}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._most_pairs = state["most_pairs"]
        still = state["worst_jpeg"]
        self.worst_jpeg = base64.b64decode(still) if still is not None else None

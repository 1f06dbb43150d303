"""The live picture as JPEG: encoded once for all viewers, and only while someone looks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from typing import Optional

import cv2
import numpy as np

from edge_app.live import LiveState, Snapshot
from edge_app.records import Image
from edge_app.render import annotate, palette
from edge_app.render.birdseye import BirdsEye
from edge_app.render.privacy import PrivacyMode, hide_people, people_boxes

log = logging.getLogger(__name__)

_QUALITY = 80
# A viewer is shown the placeholder when no frame came for this long.
_STALE_S = 3.0


class LivePicture:
    """Annotated pictures for any number of viewers.

    Attributes:
        encoded: pictures that were annotated and encoded so far.
        withheld: pictures that could not be made and were replaced by a placeholder.
    """

    def __init__(self, live: LiveState, birdseye: Optional[BirdsEye], privacy: PrivacyMode, max_fps: float) -> None:
        self._live = live
        self._birdseye = birdseye
        self._privacy = privacy
        self._interval_s = 1.0 / max_fps
        self._lock = threading.Lock()
        self._sequence = 0
        self._made_s = -math.inf
        self._jpeg = b""
        self._placeholder = _encode(_draw_placeholder())
        self._viewers = 0
        self.encoded = 0
        self.withheld = 0

    def use(self, birdseye: Optional[BirdsEye], privacy: PrivacyMode) -> None:
        """Draw pictures in another way from now on."""
        with self._lock:
            self._birdseye, self._privacy = birdseye, privacy
            # What was drawn before may show more than is to be shown now.
            self._sequence, self._made_s = 0, -math.inf

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return self._viewers

    def stream(self, stopping: threading.Event) -> Iterator[bytes]:
        """Yield JPEG pictures, each newer than the one before; a slow reader just gets fewer."""
        with self._lock:
            self._viewers += 1
        try:
            sequence = 0
            while not stopping.is_set():
                snapshot = self._live.wait_newer(sequence, _STALE_S, until_trouble=True)
                if snapshot is None:
                    yield self._placeholder
                    stopping.wait(1.0)
                    continue
                jpeg, shown, left_s = self._picture_of(snapshot)
                if shown != sequence:
                    sequence = shown
                    yield jpeg
                # All viewers wait for the same moment, so that they want the same picture.
                stopping.wait(left_s)
        finally:
            with self._lock:
                self._viewers -= 1

    def still(self, *, unhidden: bool) -> Optional[bytes]:
        """Return the newest frame without overlay as JPEG, or None where none can be shown.

        Args:
            unhidden: show people as they are. For a calibration's view alone, which has to be noted in the audit log.
        """
        snapshot = self._live.wait_newer(0, 0.0)
        if snapshot is None:
            return None
        mode = "show" if unhidden else self._privacy
        return _encode(hide_people(snapshot.frame.image, people_boxes(snapshot.result), mode))

    def _picture_of(self, snapshot: Snapshot) -> tuple[bytes, int, float]:
        """Return the newest JPEG, its snapshot's number and the seconds until the next may be made.

        It is of this snapshot, or of another one that is not older than the time between two pictures: however many
        look, no more are made than one viewer sees.
        """
        with self._lock:
            since_s = time.monotonic() - self._made_s
            if snapshot.sequence > self._sequence and since_s >= self._interval_s:
                self._jpeg = self._make(snapshot)
                self._sequence, self._made_s, since_s = snapshot.sequence, time.monotonic(), 0.0
            return self._jpeg, self._sequence, max(0.0, self._interval_s - since_s)

    def _make(self, snapshot: Snapshot) -> bytes:
        try:
            picture = annotate(snapshot.frame.image, snapshot.result, self._birdseye, self._privacy, inset=False)
            jpeg = _encode(picture)
        except Exception:
            # Whatever goes wrong, the frame itself never takes the picture's place.
            log.exception("the live picture could not be made; it is withheld")
            self.withheld += 1
            return self._placeholder
        self.encoded += 1
        return jpeg


def _encode(picture: Image) -> bytes:
    ok, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return bytes(encoded.tobytes())


def _draw_placeholder() -> Image:
    picture = np.full((360, 640, 3), palette.SHADE, np.uint8)
    cv2.putText(picture, "no picture", (235, 190), cv2.FONT_HERSHEY_DUPLEX, 1.0, palette.GRID_LABEL, 1, cv2.LINE_AA)
    return picture

"""A pipeline for a source whose picture size is only known when it comes, and may change."""

from __future__ import annotations

from collections import deque
from typing import Optional

from edge_app.calibration import CameraModel, load_camera
from edge_app.calibration.scene_reference import SceneReference
from edge_app.config import Config
from edge_app.detector import Detector, detect
from edge_app.errors import UserError
from edge_app.pipeline import HAS_MOVED, Pipeline, camera_for, check_region, watched_scene
from edge_app.records import Detections, Frame, FrameResult, ViolationEvent
from edge_app.tiles.tiled_detector import TiledDetector

_FITS = "the calibration fits, and distances are claimed"
_NO_CALIBRATION = "no calibration is configured any more, so no distances are claimed"


class LivePipeline:
    """Wraps a ``Pipeline`` and fits its calibration to each frame's size.

    A picture that the calibration does not belong to gives no distances, and that is said; people are still counted.

    Attributes:
        camera: the calibration as it was made, at its own picture size; for what works in metres.
    """

    def __init__(self, config: Config, detector: Detector) -> None:
        """Make one.

        Raises:
            UserError: the calibration cannot be used.
        """
        self._config = config
        self._pending: deque[tuple[Config, Optional[SceneReference]]] = deque(maxlen=1)
        self.detector = detector
        self.camera: Optional[CameraModel] = load_camera(config.calibration) if config.calibration else None
        self.pipeline = Pipeline(config, detector, self.camera)
        self._size: Optional[tuple[int, int]] = None
        # Why the calibration does not fit pictures of this size, why the region does not fit it, what was told last.
        self._misfit: Optional[str] = None
        self._unseen: Optional[str] = None
        self._told: Optional[str] = None

    @property
    def model_name(self) -> str:
        """Name of the detector's model."""
        return self.detector.name

    @property
    def has_live_tracks(self) -> bool:
        """Whether anybody is followed."""
        return self.pipeline.has_live_tracks

    def adapt_to(self, frame: Frame) -> Optional[tuple[bool, str]]:
        """Fit the calibration to the frame's size, and see whether the camera still looks where it was calibrated.

        Returns:
            None where nothing changed that people must know, else whether all is well with the calibration and a
            sentence.
        """
        size, before = (frame.image.shape[1], frame.image.shape[0]), self._size
        if self._pending:
            self._config, scene = self._pending.pop()
            self.pipeline.reconfigure(self._config, self._fit(size), scene)
        elif size != before:
            self._fit(size)
        watched = self.pipeline.watch(frame)
        is_news = self._problem != self._told
        self._told = self._problem
        if self._told is not None:
            return (False, self._told) if is_news else None
        if before not in (None, size):
            return True, self._resized_to(size)
        return (watched or (True, self._verdict)) if is_news else None

    def reconfigure(self, config: Config) -> None:
        """Take thresholds, places and calibration over before the next frame; may be called from any thread.

        Raises:
            UserError: the calibration cannot be used for this picture; nothing has changed then.
        """
        camera = load_camera(config.calibration) if config.calibration else None
        scene = watched_scene(config)
        if self._size is not None:
            camera_for(config, self._size)
        self.camera = camera
        # It is fitted in the pipeline's thread: the next picture may have another size.
        self._pending.append((config, scene))

    def interpret(self, index: int, time_s: float, detections: Detections) -> FrameResult:
        """Run the stages after the detector."""
        result = self.pipeline.interpret(index, time_s, detections)
        if isinstance(self.detector, TiledDetector):
            self.detector.attend(result.tracks.bbox)
        return result

    def finish(self) -> tuple[ViolationEvent, ...]:
        """Close the events that are still open; no more frames come."""
        return self.pipeline.finish()

    def process(self, frame: Frame) -> FrameResult:
        """Run every stage on one frame."""
        self.adapt_to(frame)
        return self.interpret(frame.index, frame.time_s, detect(self.detector, frame.image))

    def _fit(self, size: tuple[int, int]) -> Optional[CameraModel]:
        """Fit the calibration to pictures of this size (width, height), and go on with them; None where it can't be."""
        try:
            camera, self._misfit = camera_for(self._config, size), None
        except UserError as error:
            camera, self._misfit = None, f"{error}; until then no distances are claimed"
        self._unseen = None if camera is None else _unseen_region(self._config, camera)
        if size != self._size:
            width, height = self._size or size
            self.pipeline.refit(camera, (size[0] / width, size[1] / height))
            self._size = size
        if isinstance(self.detector, TiledDetector):
            self.detector.refit(camera)
        return camera

    @property
    def _problem(self) -> Optional[str]:
        """What people must know of the calibration now, None where all is well."""
        return self._misfit or (HAS_MOVED if self.pipeline.camera_moved else self._unseen)

    @property
    def _verdict(self) -> str:
        return _NO_CALIBRATION if self._config.calibration is None else _FITS

    def _resized_to(self, size: tuple[int, int]) -> str:
        fitted_to = ", and the calibration was fitted to it" if self._config.calibration is not None else ""
        return f"the picture is {size[0]}x{size[1]} pixels now{fitted_to}"


def _unseen_region(config: Config, camera: CameraModel) -> Optional[str]:
    """Say why a region of interest can't be seen, None where it can or there is none."""
    try:
        check_region(config, camera)
    except UserError as error:
        return str(error)
    return None

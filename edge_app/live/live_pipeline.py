"""A pipeline for a source whose picture size is only known when it comes, and may change."""

from __future__ import annotations

from typing import Optional

from edge_app.calibration import CameraModel, load_camera
from edge_app.config import Config
from edge_app.detector import Detector, detect
from edge_app.errors import UserError
from edge_app.pipeline import Pipeline, camera_for
from edge_app.records import Detections, Frame, FrameResult, ViolationEvent
from edge_app.tiles.tiled_detector import TiledDetector


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
        self.detector = detector
        self.camera: Optional[CameraModel] = load_camera(config.calibration) if config.calibration else None
        self.pipeline = Pipeline(config, detector, self.camera)
        self._size: Optional[tuple[int, int]] = None
        self._fits = True

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
            None where nothing changed that people must know, else whether the calibration holds and a sentence.
        """
        size = (frame.image.shape[1], frame.image.shape[0])
        if size == self._size:
            return self.pipeline.watch(frame)
        is_first, fitted = self._size is None, self._fits
        width, height = self._size or size
        self._size = size
        try:
            camera, problem = camera_for(self._config, size), None
        except UserError as error:
            camera, problem = None, f"{error}; until then no distances are claimed"
        self._fits = problem is None
        self.pipeline.refit(camera, (size[0] / width, size[1] / height))
        if isinstance(self.detector, TiledDetector):
            self.detector.refit(camera)
        if problem is not None:
            return False, problem
        if is_first and fitted:
            return None
        fitted_to = ", and the calibration was fitted to it" if camera is not None else ""
        return True, f"the picture is {size[0]}x{size[1]} pixels now{fitted_to}"

    def reconfigure(self, config: Config) -> None:
        """Take thresholds, places and calibration over before the next frame; may be called from any thread.

        Raises:
            UserError: the calibration cannot be used for this picture; nothing has changed then.
        """
        camera = load_camera(config.calibration) if config.calibration else None
        fitted = camera if self._size is None else camera_for(config, self._size)
        self._config, self.camera, self._fits = config, camera, True
        self.pipeline.reconfigure(config, fitted)
        if isinstance(self.detector, TiledDetector):
            self.detector.refit(fitted)

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

"""How well people are hidden in the live picture of a recorded scene: the live pipeline, judged by annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from tqdm import tqdm

from edge_app.config import Config
from edge_app.detector import finish
from edge_app.errors import UserError
from edge_app.live.live_pipeline import LivePipeline
from edge_app.motion_gate import MotionGate
from edge_app.pipeline import Pipeline, camera_for
from edge_app.records import BoolArray, BoxArray, Detections, FloatArray, Frame, FrameResult, Image, IntArray
from edge_app.render.privacy import hidden_rectangles, people_boxes
from edge_app.source import VideoFile
from edge_app.tiles.tiled_detector import TiledDetector
from training.scene_evaluation.scene_files import SceneRows

# Of a person of whom less than this part of the box is covered a face or a gait may be seen.
_HIDDEN = 0.5


@dataclass(frozen=True)
class Hiding:
    """How much of each annotated person is covered, all of length N, in the order of the frames.

    Attributes:
        frame: (N,) int64, from 1.
        covered: (N,) float64, part of the person's box, inside the picture, that is hidden.
        picture: (F,) float64, part of each frame's picture that is hidden.
        passed_over: frames that the motion gate passed over.
    """

    frame: IntArray
    covered: FloatArray
    picture: FloatArray
    passed_over: int

    @property
    def shown(self) -> int:
        """Number of annotated boxes of which less than half is covered."""
        return int(self._is_shown.sum())

    @property
    def shown_frames(self) -> IntArray:
        """(S,) int64 frames with such boxes, from 1, ascending."""
        return np.unique(self.frame[self._is_shown])

    @property
    def _is_shown(self) -> BoolArray:
        return self.covered < _HIDDEN


def measure_hiding(config: Config, video: Path, people: SceneRows, tiles_a_frame: Optional[int] = None) -> Hiding:
    """Run the live pipeline frame by frame and see what is hidden of the annotated people.

    Args:
        config: as for ``run``; motion gate and tiles as there.
        video: of the scene.
        people: its ground truth.
        tiles_a_frame: look at so many tiles a frame, as a slow device does; None for all.

    Raises:
        UserError: video, model or calibration cannot be used, or ``tiles_a_frame`` is given where there are no tiles.
    """
    frames, covered, pictures = [], [], []
    passed_over = 0
    for frame, result in _results(config, video, tiles_a_frame):
        hidden = _mask(frame.image, people_boxes(result))
        pictures.append(float(hidden.mean()))
        passed_over += result.detections.passed_over
        for box in people.bbox[people.frame == frame.index + 1]:
            part = _part(hidden, box)
            if part.size:
                frames.append(frame.index + 1)
                covered.append(float(part.mean()))
    return Hiding(np.array(frames, np.int64), np.array(covered), np.array(pictures), passed_over)


def _results(config: Config, video: Path, tiles_a_frame: Optional[int]) -> Iterator[tuple[Frame, FrameResult]]:
    source = VideoFile(video, fps=config.source.fps)
    size = (source.width, source.height)
    detector = Pipeline.from_config(config, size).detector
    if tiles_a_frame is not None:
        if not isinstance(detector, TiledDetector):
            source.close()
            raise UserError("--tiles-a-frame is of no use here without tiles; leave it out, or set tiles.mode")
        detector = TiledDetector(detector.detector, config.tiles, camera_for(config, size), tiles_a_frame=tiles_a_frame)
    pipeline = LivePipeline(config, detector)
    gate = MotionGate(config.motion_gate) if config.motion_gate.enabled else None
    try:
        for frame in tqdm(source, total=source.frame_count, unit="frame"):
            found = Detections.empty(passed_over=True)
            if gate is None or gate.must_look(frame, pipeline.has_live_tracks):
                tensor, geometry = detector.preprocess(frame.image)
                found = finish(detector, detector.invoke(tensor), geometry, frame.image)
            pipeline.adapt_to(frame)
            yield frame, pipeline.interpret(frame.index, frame.time_s, found)
    finally:
        source.close()


def _mask(image: Image, boxes: BoxArray) -> FloatArray:
    """Return (H, W) 1 where the picture is hidden, else 0."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width))
    for left, top, right, bottom in hidden_rectangles(boxes, width, height).tolist():
        mask[top:bottom, left:right] = 1.0
    return mask


def _part(mask: FloatArray, box: FloatArray) -> FloatArray:
    left, top, right, bottom = np.maximum(box, 0.0).round().astype(int).tolist()
    return mask[top:bottom, left:right]

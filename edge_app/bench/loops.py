"""What the live pipeline is compared with: inference alone, and loops as people write them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edge_app.config import Config
from edge_app.detector import Detector, at_once, detect
from edge_app.pipeline import Pipeline, camera_for
from edge_app.records import Frame
from edge_app.source import VideoFile

# Like the other runs, loops are measured without their first frames.
_WARM_UP_FRAMES = 5


def inference_alone(detector: Detector, video: Path, frames: int) -> float:
    """Return inferences a second of a prepared frame, nothing else; side by side where the detector can."""
    source = VideoFile(video, fps=1.0)
    tensor, _ = detector.preprocess(next(iter(source)).image)
    source.close()
    with ThreadPoolExecutor(at_once(detector)) as threads:
        for _ in threads.map(detector.invoke, [tensor] * _WARM_UP_FRAMES):
            pass
        started_s = time.perf_counter()
        for _ in threads.map(detector.invoke, [tensor] * frames):
            pass
        return frames / (time.perf_counter() - started_s)


def plain_loop(config: Config, detector: Detector, video: Path, frames: int) -> float:
    """Return frames a second of reading, detecting, tracking and measuring in one loop, one after the other."""
    source = VideoFile(video, fps=config.source.fps, loop=True)
    pipeline = Pipeline(config, detector, camera_for(config, (source.width, source.height)))
    rate = _rate(source, frames, pipeline.process)
    source.close()
    return rate


def tutorial_loop(detector: Detector, video: Path, frames: int) -> float:
    """Return frames a second of the loop that tutorials show: read, resize, invoke, draw, encode. No tracking."""
    source = VideoFile(video, fps=1.0, loop=True)

    def step(frame: Frame) -> None:
        image = frame.image
        people = detect(detector, image)
        for left, top, right, bottom in people.bbox[people.score >= 0.35].astype(int).tolist():
            cv2.rectangle(image, (left, top), (right, bottom), (0, 255, 0), 2)
        cv2.imencode(".jpg", image)

    rate = _rate(source, frames, step)
    source.close()
    return rate


def hog_loop(video: Path, frames: int) -> float:
    """Return frames a second of OpenCV's HOG people detector with its default parameters."""
    from edge_app.bench.hog import HogDetector  # noqa: PLC0415

    hog = HogDetector()
    source = VideoFile(video, fps=1.0, loop=True)
    rate = _rate(source, frames, lambda frame: hog(frame.image))
    source.close()
    return rate


def _rate(source: VideoFile, frames: int, step: Callable[[Frame], object]) -> float:
    times_s = []
    for frame in source:
        step(frame)
        times_s.append(time.perf_counter())
        if len(times_s) == frames + _WARM_UP_FRAMES:
            break
    kept = np.array(times_s[_WARM_UP_FRAMES - 1 :])
    return float((len(kept) - 1) / (kept[-1] - kept[0]))

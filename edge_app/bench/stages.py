"""Time of every stage, one after the other in one thread."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from edge_app.analysis.result_files import ResultFiles
from edge_app.config import Config
from edge_app.detector import Detector, finish
from edge_app.foot_points import find_feet
from edge_app.pipeline import Pipeline, camera_for
from edge_app.render import BirdsEye
from edge_app.render.annotate import annotate
from edge_app.source import VideoFile
from edge_app.tracking import Tracker

Row = dict[str, float]


def measure_stages(config: Config, detector: Detector, video: Path, frames: int) -> dict[str, Row]:
    """Return median and 95th percentile, milliseconds, of each stage.

    Tracking is measured on a tracker of its own with the same detections; what the pipeline takes beyond that is
    distances, groups and events.
    """
    source = VideoFile(video, fps=config.source.fps)
    size = (source.width, source.height)
    camera = camera_for(config, size)
    pipeline = Pipeline(config, detector, camera)
    tracker = Tracker(config.tracker, config.model.score_threshold)
    birdseye = BirdsEye(camera, size) if camera is not None else None
    times: dict[str, list[float]] = {}

    def lap(stage: str, since_s: float) -> float:
        now_s = time.perf_counter()
        times.setdefault(stage, []).append(1000 * (now_s - since_s))
        return now_s

    with tempfile.TemporaryDirectory() as folder:
        files = ResultFiles(Path(folder))
        since_s = time.perf_counter()
        for frame in islice(iter(source), frames):
            since_s = lap("decode", since_s)
            tensor, geometry = detector.preprocess(frame.image)
            since_s = lap("preprocess", since_s)
            outputs = detector.invoke(tensor)
            since_s = lap("inference", since_s)
            detections = finish(detector, outputs, geometry, frame.image)
            since_s = lap("post-process", since_s)
            feet = find_feet(camera, detections, source.height)
            tracker.update(frame.time_s, feet.detections, feet.measurements)
            since_s = lap("tracking", since_s)
            result = pipeline.interpret(frame.index, frame.time_s, detections)
            since_s = lap("tracking to events", since_s)
            files.write(result)
            since_s = lap("write results", since_s)
            picture = annotate(frame.image, result, birdseye, config.privacy.people, inset=False)
            since_s = lap("render", since_s)
            cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
            since_s = lap("encode", since_s)
        files.close()
    source.close()
    whole, tracking = times.pop("tracking to events"), times["tracking"]
    times["distances, groups, events"] = [max(0.0, both - part) for both, part in zip(whole, tracking)]
    order = ("decode", "preprocess", "inference", "post-process", "tracking", "distances, groups, events",
             "write results", "render", "encode")  # fmt: skip
    return {stage: summarise(times[stage]) for stage in order}


def summarise(values: list[float]) -> Row:
    """Return median and 95th percentile."""
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}

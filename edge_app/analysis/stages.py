"""The two stages that run ahead of the interpretation: decoding with preprocessing, and inference."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edge_app.detector import Detector, finish
from edge_app.records import Detections, Frame
from edge_app.source import VideoFile


@dataclass
class StageTimes:
    """Seconds of work per stage, summed over frames; stages overlap, so their sum is more than the elapsed time."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, since: float) -> float:
        """Add the time since ``since`` (``time.perf_counter``) to a stage; return now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


@dataclass(frozen=True)
class Prepared:
    """A frame and what the detector made of it for ``invoke`` and ``decode``."""

    frame: Frame
    tensor: Any
    geometry: Any


@dataclass(frozen=True)
class Detected:
    """A frame and the people found in it."""

    frame: Frame
    detections: Detections


def prepare(source: VideoFile, detector: Detector, every: int, times: StageTimes) -> Iterator[Prepared]:
    """Decode and preprocess every ``every``-th frame, counted from the first of the video."""
    since = time.perf_counter()
    for frame in source:
        since = times.add("decode", since)
        if frame.index % every == 0:
            tensor, geometry = detector.preprocess(frame.image)
            times.add("preprocess", since)
            yield Prepared(frame, tensor, geometry)
        since = time.perf_counter()


def infer(items: Iterable[Prepared], detector: Detector, times: StageTimes) -> Iterator[Detected]:
    """Run the model on prepared frames."""
    for item in items:
        since = time.perf_counter()
        detections = finish(detector, detector.invoke(item.tensor), item.geometry, item.frame.image)
        times.add("inference", since)
        yield Detected(item.frame, detections)

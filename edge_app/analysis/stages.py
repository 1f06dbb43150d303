"""The two stages that run ahead of the interpretation: decoding with preprocessing, and inference."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from edge_app.detector import Detector, at_once, finish
from edge_app.records import Detections, Frame
from edge_app.source import VideoFile


@dataclass
class StageTimes:
    """Seconds of work per stage, summed over frames; stages overlap, so their sum is more than the elapsed time.

    Of inferences that run side by side, each counts with its part of the time.
    """

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
    """Run the model on prepared frames, on as many at once as it can, and yield them in their order."""
    count = at_once(detector)

    def detected(item: Prepared) -> tuple[Detected, float]:
        since = time.perf_counter()
        detections = finish(detector, detector.invoke(item.tensor), item.geometry, item.frame.image)
        return Detected(item.frame, detections), time.perf_counter() - since

    running: deque[Future[tuple[Detected, float]]] = deque()

    def next_done() -> Detected:
        done, took_s = running.popleft().result()
        times.seconds["inference"] = times.seconds.get("inference", 0.0) + took_s / count
        return done

    with ThreadPoolExecutor(count, "inference") as threads:
        for item in items:
            running.append(threads.submit(detected, item))
            # One more than can run: whoever is done first need not wait for this thread.
            if len(running) > count:
                yield next_done()
        while running:
            yield next_done()

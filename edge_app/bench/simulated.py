"""A detector whose inference only takes time, as on an accelerator: the processor is free meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edge_app.config import Config
from edge_app.detector import Detector
from edge_app.records import Detections, Image
from edge_app.source import VideoFile

# Outputs of so many frames at most are recorded before, and given in turn: what follows has real people to work on. It
# is more than the sample clip has, so that the people found are those in the picture, when it is played in a loop too.
_RECORDED_FRAMES = 300


class SimulatedDetector:
    """Waits in place of the model and gives outputs that the model made before.

    Attributes:
        name: of the model.
        input: of the model.
    """

    def __init__(self, detector: Detector, outputs: list[Any], wait_s: float) -> None:
        self.name = f"{detector.name}, {1000 * wait_s:g} ms simulated"
        self.input = detector.input
        self._detector = detector
        self._outputs = outputs
        self._wait_s = wait_s
        self._calls = 0

    def preprocess(self, image: Image) -> tuple[Any, Any]:
        """Prepare a frame as the model needs it."""
        return self._detector.preprocess(image)

    def invoke(self, tensor: Any) -> Any:
        """Wait."""
        time.sleep(self._wait_s)
        self._calls += 1
        return self._outputs[(self._calls - 1) % len(self._outputs)]

    def decode(self, outputs: Any, geometry: Any) -> Detections:
        """Turn recorded outputs into people."""
        return self._detector.decode(outputs, geometry)


def simulate(detector: Detector, config: Config, video: Path, wait_ms: float) -> SimulatedDetector:
    """Record the model's outputs on the first frames of a video, and return its stand-in."""
    source = VideoFile(video, fps=config.source.fps)
    outputs = []
    for frame in source:
        tensor, _ = detector.preprocess(frame.image)
        outputs.append(detector.invoke(tensor))
        if len(outputs) == _RECORDED_FRAMES:
            break
    source.close()
    return SimulatedDetector(detector, outputs, wait_ms / 1000.0)

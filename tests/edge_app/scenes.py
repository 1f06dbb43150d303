"""Frame results made by hand, for tests of what shows them."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.pipeline import Pipeline
from edge_app.records import FrameResult
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(width=320, height=240, focal_px=200.0)


class NoModel:
    """Stands where the detector would."""

    name = "none"


def results_of(people_m, frames=15, fps=10.0, camera: Optional[CameraModel] = CAMERA) -> list[FrameResult]:
    """Run standing people, (N, 2) metres, through the pipeline and return every frame's result."""
    pipeline = Pipeline(Config(), NoModel(), camera)
    boxes = boxes_of_people(CAMERA, np.asarray(people_m, float))
    return [pipeline.interpret(index, index / fps, boxes) for index in range(frames)]

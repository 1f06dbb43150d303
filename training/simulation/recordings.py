"""Simulated scenes have no pictures: their detections are made up and sent through the stages after the detector."""

from __future__ import annotations

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.hindsight import Recording
from edge_app.pipeline import Pipeline


class _NoModel:
    name = "simulated"


def recording_of(camera: CameraModel, config: Config, *, in_hindsight: bool) -> Recording:
    """Return a recording that is given detections, judged in hindsight or at once as a camera's pictures are."""
    if not in_hindsight:
        config = config.model_copy(update={"tracker": config.tracker.model_copy(update={"hindsight_s": 0.0})})
    return Recording(Pipeline(config, _NoModel(), camera), config)  # type: ignore[arg-type]

"""The detector for live use: on the accelerator, guarded, where the model is compiled for one; else on the CPU."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional

from edge_app.accelerator.child_interpreter import AcceleratorLost
from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.config import ModelConfig
from edge_app.detector import Detector, load_detector
from edge_app.errors import UserError
from edge_app.interpreter import is_for_edgetpu

log = logging.getLogger(__name__)

_COMPILED_SUFFIX = "_edgetpu"


def cpu_twin(config: ModelConfig) -> Optional[Path]:
    """Return the uncompiled model of a compiled one: as configured, else ``X.tflite`` of ``X_edgetpu.tflite``."""
    if config.cpu_twin is not None:
        return config.cpu_twin
    stem = config.path.stem
    if not stem.endswith(_COMPILED_SUFFIX):
        return None
    twin = config.path.with_name(f"{stem[: -len(_COMPILED_SUFFIX)]}{config.path.suffix}")
    return twin if twin.is_file() else None


def open_detector(config: ModelConfig, *, side_by_side: bool = False) -> Detector:
    """Open the configured model for live use.

    Args:
        config: of the model.
        side_by_side: as for ``load_detector``.

    Raises:
        UserError: the model cannot be used, or it is compiled, no accelerator answers and it has no twin.
    """
    if config.device == "cpu" or not is_for_edgetpu(config.path):
        return load_detector(config, side_by_side=side_by_side)
    twin = cpu_twin(config)
    fallback = None
    if twin is not None:
        fallback = load_detector(config.model_copy(update={"path": twin, "device": "cpu"}))

    def opener() -> Detector:
        try:
            return load_detector(config)
        except UserError as error:
            raise AcceleratorLost(str(error)) from error

    try:
        accelerated, reason = opener(), ""
    except AcceleratorLost as error:
        if fallback is None:
            raise UserError(str(error)) from error
        accelerated, reason = None, str(error)
    if accelerated is not None and fallback is not None and accelerated.input != fallback.input:
        raise UserError(f"{twin} takes another input than {config.path}, so it is not its twin; set model.cpu_twin")
    guarded = GuardedDetector(opener, accelerated, fallback)
    if accelerated is None:
        log.warning("%s", reason)
        guarded.report_missing(reason)
    elif fallback is None:
        log.warning("model %s has no CPU twin; nobody is found while the accelerator is away", config.path.name)
    return guarded

"""What does the inferences now, in words for people: the Edge TPU, or the CPU, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.config import ModelConfig
from edge_app.detector import Detector


@dataclass(frozen=True)
class InferenceInUse:
    """What does the inferences.

    Attributes:
        kind: ``Edge TPU``, ``CPU`` or ``none``.
        device: which one, or how many threads.
        runtime: name and version, empty where it has none.
        fallback: what takes over when it fails, or what it stands in for.
        problem: why the accelerator is not in use although it should be; None where all is as it should be.
        failures, reopened: how often the accelerator was lost and came back.
    """

    kind: str
    device: str
    runtime: str
    fallback: str
    problem: Optional[str] = None
    failures: int = 0
    reopened: int = 0


def inference_in_use(detector: Detector, guarded: Optional[GuardedDetector], config: ModelConfig) -> InferenceInUse:
    """Say what does the inferences.

    Args:
        detector: the model.
        guarded: the same where it is on an accelerator that may fail.
        config: of the model.
    """
    threads = f"{config.threads} thread{'s' if config.threads > 1 else ''}"
    if guarded is None:
        return InferenceInUse("CPU", threads, str(getattr(detector, "runtime", "")), "not needed")
    wanted = "the first that answers" if config.device in ("auto", "edgetpu") else config.device
    kind, device = {"accelerator": ("Edge TPU", wanted), "cpu": ("CPU", threads), "none": ("none", wanted)}[
        guarded.in_use
    ]
    return InferenceInUse(
        kind, device, guarded.runtime, _fallback(guarded, wanted), guarded.problem, guarded.failures, guarded.reopened
    )


def _fallback(guarded: GuardedDetector, wanted: str) -> str:
    if guarded.in_use == "cpu":
        return f"stands in for the Edge TPU ({wanted})"
    return "the CPU stands by" if guarded.has_fallback else "none: nobody is found while the Edge TPU is away"

"""Golden frames: pictures in a bundle with the boxes that its model must find in them, tried on the very device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.box_overlap import shared_area
from edge_app.config import ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from edge_app.records import BoxArray, Detections


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GoldenFrame(_Strict):
    """One picture, named from the bundle's top, and (left, top, right, bottom, score) of each person in it."""

    picture: str
    people: tuple[tuple[float, float, float, float, float], ...]


class Tolerance(_Strict):
    """How far a device may be off: least overlap of a box, largest difference of a score."""

    iou: float = Field(ge=0, le=1)
    score: float = Field(ge=0, le=1)


class GoldenFrames(_Strict):
    """Pictures with expected people.

    Attributes:
        source: where the pictures are from, with their terms.
        min_score: people under this score are not listed.
        reference: tolerance with reference kernels, which compute the same numbers everywhere.
        cpu: tolerance with a CPU's fast kernels, some of which round differently (docs/models.md).
        edgetpu: tolerance on an Edge TPU, which rounds in ways of its own.
        frames: at least one.
    """

    source: str
    min_score: float = Field(ge=0, le=1)
    reference: Tolerance
    cpu: Tolerance
    edgetpu: Tolerance
    frames: tuple[GoldenFrame, ...] = Field(min_length=1)


@dataclass(frozen=True)
class GoldenResult:
    """How a model did: number of people, worst overlap, largest difference of a score, and the runtime it ran in."""

    frames: int
    people: int
    worst_iou: float
    worst_score_difference: float
    runtime: str


def read_golden(path: Path) -> GoldenFrames:
    """Read the expected boxes of a bundle.

    Raises:
        UserError: the file is missing or not valid.
    """
    try:
        return GoldenFrames.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"golden frames {path} cannot be read ({error.strerror}); get the bundle again") from error
    except ValidationError as error:
        raise UserError(f"golden frames {path.name} are not valid; make the bundle again") from error


# What is tried: the file and everything around it with reference kernels, then each way in which it may run here.
Trial = Literal["reference", "cpu", "edgetpu"]


def try_model(folder: Path, model: str, golden: GoldenFrames, trial: Trial) -> GoldenResult:
    """Run a model of an unpacked bundle on its golden frames, on this device.

    Raises:
        UserError: the model can't be loaded here, or finds other people than it must.
    """
    config = ModelConfig(
        path=folder / model,
        device="edgetpu" if trial == "edgetpu" else "cpu",
        kernels="reference" if trial == "reference" else "fast",
        low_score_threshold=0.0,
        score_threshold=golden.min_score,
    )
    detector = load_detector(config)
    tolerance: Tolerance = getattr(golden, trial)
    people, worst_iou, worst_score = 0, 1.0, 0.0
    for frame in golden.frames:
        image = _picture(folder, frame.picture)
        where = f"{model} ({detector.runtime})"
        iou, score = _compare(frame, detect(detector, image), golden.min_score, tolerance, where)
        people += len(frame.people)
        worst_iou, worst_score = min(worst_iou, iou), max(worst_score, score)
    return GoldenResult(len(golden.frames), people, worst_iou, worst_score, detector.runtime)


def _picture(folder: Path, name: str) -> np.ndarray:
    path = folder / name
    # The index allows no name that leaves the folder; this file is signed but was not checked for it.
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise UserError(f"golden frames name the picture {name[:60]!r}, which is not in the bundle; make it again")
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"golden picture {name} can't be read; make the bundle again")
    return image


def _compare(
    frame: GoldenFrame, found: Detections, min_score: float, tolerance: Tolerance, model: str
) -> tuple[float, float]:
    """Return least overlap and largest score difference; refuse what is beyond the tolerance."""
    expected = np.array(frame.people, np.float32).reshape(-1, 5)
    unmatched = np.ones(len(found), bool)
    worst_iou, worst_score = 1.0, 0.0
    for box in expected:
        overlaps = np.where(unmatched, overlap(found.bbox, box[:4]), -1.0) if len(found) else np.zeros(0)
        best = int(np.argmax(overlaps)) if len(overlaps) else -1
        if best < 0 or overlaps[best] < tolerance.iou:
            raise UserError(
                f"{model} misses a person in {frame.picture} on this device (best overlap "
                f"{max(float(overlaps[best]), 0.0) if best >= 0 else 0.0:.2f}); it stays uninstalled"
            )
        unmatched[best] = False
        difference = abs(float(found.score[best]) - float(box[4]))
        if difference > tolerance.score:
            raise UserError(
                f"{model} scores a person in {frame.picture} with {float(found.score[best]):.2f} on this device "
                "instead of "
                f"{float(box[4]):.2f}; it stays uninstalled"
            )
        worst_iou, worst_score = min(worst_iou, float(overlaps[best])), max(worst_score, difference)
    # One that sits at the threshold may come or go with the last bit.
    surplus = int((unmatched & (found.score >= min_score + tolerance.score)).sum())
    if surplus:
        raise UserError(
            f"{model} finds {surplus} people too many in {frame.picture} on this device; it stays uninstalled"
        )
    return worst_iou, worst_score


def overlap(boxes: BoxArray, box: BoxArray) -> np.ndarray:
    """Return the (N,) intersection over union of (N, 4) boxes with one, xyxy."""
    shared = shared_area(boxes, box)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))

"""Runs a model on frames in several runtimes and compares the people that come out."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.config import ModelConfig
from edge_app.detector import load_detector
from edge_app.records import Detections
from edge_app.source import VideoFile
from training.evaluation.overlap import iou_matrix
from training.runtimes.environments import Runtime, Unavailable, make_environment

WORKER = Path(__file__).with_name("worker.py")
LEAST_IOU, MOST_SCORE = 0.99, 1 / 128
_SCORE = 0.3


@dataclass(frozen=True)
class RuntimeResult:
    """How a runtime did, against the runtime of this environment.

    Attributes:
        name: as asked for.
        runtime: as it names itself; empty if it did not run.
        people: found in all frames, with a score of 0.3 or more.
        least_iou, most_score: worst overlap and largest difference of a score.
        same: within the limits, nobody lost or added.
        problem: why it did not run; None if it did.
    """

    name: str
    runtime: str = ""
    people: int = 0
    least_iou: float = 0.0
    most_score: float = 0.0
    same: bool = False
    problem: Optional[str] = None


def compare_runtimes(
    model: Path,
    video: Path,
    frames: int,
    runtimes: Sequence[Runtime],
    work: Path,
    python_of: Callable[[Runtime, Path], Path] = make_environment,
) -> tuple[str, list[RuntimeResult]]:
    """Run a model in every runtime.

    Args:
        model: a detector for the CPU.
        video: whose frames are used, spread evenly.
        frames: how many.
        runtimes: to try.
        work: folder for the environments.
        python_of: gives the Python of a runtime.

    Returns:
        The runtime of this environment, which the others are compared with, and a result for each.

    Raises:
        UserError: model or video can't be used.
    """
    detector = load_detector(ModelConfig(path=model, device="cpu", low_score_threshold=0.0))
    clip = VideoFile(video)
    step = max(1, (clip.frame_count or frames) // frames)
    prepared = [detector.preprocess(frame.image) for frame in islice(clip, 0, frames * step, step)]
    reference = [detector.decode(detector.invoke(tensor), geometry) for tensor, geometry in prepared]
    results = []
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs.npy"
        np.save(inputs, np.concatenate([tensor for tensor, _ in prepared]))
        for runtime in runtimes:
            outputs = Path(name) / "outputs.npz"
            outputs.unlink(missing_ok=True)
            try:
                _run(python_of(runtime, work), model, inputs, outputs)
            except Unavailable as error:
                results.append(RuntimeResult(runtime.name, problem=str(error)))
                continue
            found = _decode(detector, outputs, [geometry for _, geometry in prepared])
            with np.load(outputs) as content:
                label = str(content["runtime"])
            results.append(_compared(runtime.name, label, reference, found))
    return detector.runtime, results


def _run(python: Path, model: Path, inputs: Path, outputs: Path) -> None:
    command = [str(python), str(WORKER), str(model), str(inputs), str(outputs)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(lines[-1][:200] if lines else f"the runtime ended with status {done.returncode}")


def _decode(detector: Any, outputs: Path, geometries: Sequence[Any]) -> list[Detections]:
    mapping = detector.mapping
    with np.load(outputs) as content:
        boxes, classes, scores, count = (
            content[f"output_{position}"]
            for position in (mapping.boxes, mapping.classes, mapping.scores, mapping.count)
        )
    return [
        detector.decode((boxes[index], classes[index], scores[index], int(np.ravel(count[index])[0])), geometry)
        for index, geometry in enumerate(geometries)
    ]


def _compared(name: str, runtime: str, reference: list[Detections], found: list[Detections]) -> RuntimeResult:
    people, least_iou, most_score, same = 0, 1.0, 0.0, True
    for expected, got in zip(reference, found):
        # One at the threshold may cross it by a difference that is allowed.
        sure = expected[expected.score >= _SCORE + MOST_SCORE]
        people += int((got.score >= _SCORE).sum())
        overlaps = iou_matrix(sure.bbox.astype(float), got.bbox.astype(float))
        if len(sure) == 0:
            continue
        if len(got) == 0:
            same = False
            continue
        best = overlaps.argmax(axis=1)
        least_iou = min(least_iou, float(overlaps.max(axis=1).min()))
        most_score = max(most_score, float(np.abs(sure.score - got.score[best]).max()))
        added = (got.score >= _SCORE + MOST_SCORE).sum() > (expected.score >= _SCORE).sum()
        same = same and len(set(best.tolist())) == len(best) and not added
    same = same and least_iou >= LEAST_IOU and most_score <= MOST_SCORE
    return RuntimeResult(name, runtime, people, round(least_iou, 4), round(most_score, 4), same)


def format_results(model: Path, frames: int, reference: str, results: Sequence[RuntimeResult]) -> str:
    """Return a table in Markdown."""
    lines = [
        f"`{model.name}` on {frames} frames, against {reference}; same: IoU ≥ {LEAST_IOU}, scores within "
        f"{MOST_SCORE:.4f}",
        "",
        "| runtime | people | least IoU | largest score difference | |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        if result.problem is not None:
            lines.append(f"| {result.name} | | | | not run: {result.problem} |")
        else:
            verdict = "same" if result.same else "**different**"
            name = result.name if result.name.split()[-1] in result.runtime else f"{result.name} ({result.runtime})"
            lines.append(f"| {name} | {result.people} | {result.least_iou:.4f} | {result.most_score:.4f} | {verdict} |")
    return "\n".join(lines)

"""Runs a model on frames in several runtimes and compares what comes out."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.config import ModelConfig
from edge_app.detector import TFLiteDetector, load_detector
from edge_app.errors import UserError
from edge_app.kernels import Kernels
from edge_app.records import Detections
from edge_app.source import VideoFile
from training.compile.graph import read_graph
from training.runtimes.environments import Runtime, Unavailable, make_environment
from training.runtimes.same_boxes import LEAST_IOU, MOST_SCORE, Sameness, compare_anchors, compare_people

WORKER = Path(__file__).with_name("worker.py")
KERNELS: tuple[Kernels, ...] = ("reference", "fast")
_POST_PROCESS = "TFLite_Detection_PostProcess"


@dataclass(frozen=True)
class RuntimeResult:
    """How a runtime did, against the first one with the same kernels.

    Attributes:
        name: as asked for.
        kernels: that computed the model.
        runtime: as it names itself; empty if it did not run.
        sameness: None if it did not run.
        problem: why it did not run; None if it did.
    """

    name: str
    kernels: Kernels
    runtime: str = ""
    sameness: Optional[Sameness] = None
    problem: Optional[str] = None


@dataclass(frozen=True)
class _Run:
    """What one runtime computed: its name, (box encodings, scores) of all anchors, and the people of each frame."""

    runtime: str
    raw: tuple[Any, Any]
    people: list[Detections]


def compare_runtimes(
    model: Path,
    video: Path,
    frames: int,
    runtimes: Sequence[Runtime],
    work: Path,
    python_of: Callable[[Runtime, Path], Path] = make_environment,
) -> list[RuntimeResult]:
    """Run a model in every runtime, with reference kernels and with fast ones.

    Args:
        model: a detector for the CPU.
        video: whose frames are used, spread evenly.
        frames: how many.
        runtimes: to try; the first one that runs is what the others are compared with.
        work: folder for the environments.
        python_of: gives the Python of a runtime.

    Raises:
        UserError: model or video can't be used.
    """
    detector = load_detector(ModelConfig(path=model, device="cpu", low_score_threshold=0.0))
    clip = VideoFile(video)
    step = max(1, (clip.frame_count or frames) // frames)
    prepared = [detector.preprocess(frame.image) for frame in islice(clip, 0, frames * step, step)]
    geometries = [geometry for _, geometry in prepared]
    raw = raw_outputs(model)
    results = []
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs.npy"
        np.save(inputs, np.concatenate([tensor for tensor, _ in prepared]))
        for kernels in KERNELS:
            first: Optional[_Run] = None
            for runtime in runtimes:
                outputs = Path(name) / "outputs.npz"
                outputs.unlink(missing_ok=True)
                try:
                    python = python_of(runtime, work)
                    _run([python, WORKER, model, inputs, outputs, kernels, *raw])
                except Unavailable as error:
                    results.append(RuntimeResult(runtime.name, kernels, problem=str(error)))
                    continue
                run = _read(detector, outputs, geometries)
                first = first or run
                results.append(RuntimeResult(runtime.name, kernels, run.runtime, _compared(first, run)))
    return results


def raw_outputs(model: Path) -> tuple[int, int]:
    """Return the tensors that hold box encodings and class scores before people are picked.

    Raises:
        UserError: the model has no detection post-process.
    """
    for operator in read_graph(model).operators:
        if operator.custom_name == _POST_PROCESS:
            return operator.inputs[0], operator.inputs[1]
    raise UserError(f"model {model.name} has no {_POST_PROCESS}; give a detector that 'quantize' made")


def _run(words: Sequence[object]) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(lines[-1][:200] if lines else f"the runtime ended with status {done.returncode}")


def _read(detector: TFLiteDetector, outputs: Path, geometries: Sequence[Any]) -> _Run:
    mapping = detector.mapping
    with np.load(outputs) as content:
        boxes, classes, scores, count = (
            content[f"output_{position}"]
            for position in (mapping.boxes, mapping.classes, mapping.scores, mapping.count)
        )
        label, raw = str(content["runtime"]), (content["raw_0"], content["raw_1"])
    people = [
        detector.decode((boxes[index], classes[index], scores[index], int(np.ravel(count[index])[0])), geometry)
        for index, geometry in enumerate(geometries)
    ]
    return _Run(label, raw, people)


def _compared(first: _Run, run: _Run) -> Sameness:
    anchors, anchor_score = compare_anchors(first.raw, run.raw)
    found = compare_people(first.people, run.people)
    # Equal scores explain another pick only if there is no other difference.
    ties = found.ties if anchors == 0.0 else 0
    return replace(found, ties=ties, anchors=round(anchors, 4), anchor_score=round(anchor_score, 4))


def format_results(model: Path, frames: int, results: Sequence[RuntimeResult]) -> str:
    """Return a table in Markdown for each kind of kernels."""
    lines = [
        f"`{model.name}` on {frames} frames, each runtime against the first; a person is the same with IoU ≥ "
        f"{LEAST_IOU} and scores within {MOST_SCORE:.4f}"
    ]
    for kernels in KERNELS:
        lines += [
            "",
            f"| {kernels} kernels | anchors that differ | their scores | people | beyond | least IoU | scores | |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(result) for result in results if result.kernels == kernels),
        ]
    return "\n".join(lines)


def _row(result: RuntimeResult) -> str:
    found = result.sameness
    if found is None:
        return f"| {result.name} | | | | | | | not run: {result.problem} |"
    name = result.name if result.name.split()[-1] in result.runtime else f"{result.name} ({result.runtime})"
    verdict = "same" if found.same else "**different**"
    if found.same and found.ties:
        verdict += f", but for {found.ties} of equal score"
    return (
        f"| {name} | {100 * (found.anchors or 0):.1f} % | {found.anchor_score:.4f} | {found.people} | {found.apart} | "
        f"{found.least_iou:.4f} | {found.most_score:.4f} | {verdict} |"
    )

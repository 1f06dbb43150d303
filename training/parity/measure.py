"""Measures several models on several labelled sets, paired."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np
from tqdm import tqdm

from edge_app.box_overlap import iou_matrix
from edge_app.config import ModelConfig
from edge_app.detector import load_detector
from edge_app.records import FloatArray, Image
from training.evaluation.labelled_pictures import LabelledPictures, load_labelled_pictures
from training.evaluation.metrics import DetectionScores, Evaluation, evaluate_detector, paired_difference
from training.evaluation.predictors import load_predictor
from training.export.operators import count_operators, read_operators

# Detections from this score on are what a user sees; below it models may differ without anyone noticing.
_SEEN_SCORE = 0.4
_MATCH_IOU = 0.5
# Whoever is found with this score is hidden in pictures.
_HIDDEN_SCORE = 0.05


@dataclass(frozen=True)
class DataSet:
    """A labelled set of the comparison."""

    name: str
    labels: Path
    video: Optional[Path]


@dataclass(frozen=True)
class ModelOnSet:
    """One model on one set, beside the reference.

    Attributes:
        scores: its own figures.
        difference, interval: AP50 less the reference's and its 95 % interval; None for the reference itself.
        agreement: mean IoU of its boxes with the reference's and mean difference of scores, over detections of the
            reference with a score of 0.4 or more that it has too; None for the reference.
        lost, extra: detections that only the reference or only this model has.
    """

    scores: DetectionScores
    difference: Optional[float] = None
    interval: Optional[tuple[float, float]] = None
    agreement: Optional[tuple[float, float]] = None
    lost: int = 0
    extra: int = 0


@dataclass(frozen=True)
class Disagreement:
    """A picture on which a model and the reference differ.

    Attributes:
        data, model, image_id: which.
        amount: lost and extra detections, and the mean change of scores of the others.
        reference, other, truth: (N, 4) boxes, source pixels xyxy; the first two with scores of 0.4 or more.
        maybe: (N, 4) boxes of weaker detections of both: nobody that either suspects is shown.
    """

    data: str
    model: str
    image_id: int
    amount: float
    reference: FloatArray
    other: FloatArray
    truth: FloatArray
    maybe: FloatArray


@dataclass(frozen=True)
class ModelFacts:
    """What a model is without any picture.

    Attributes:
        name, path: of the file.
        size_bytes: of the file.
        operators: counts, of a ``.tflite`` only.
        latency_ms: median time of one inference in an interleaved run, of a ``.tflite`` only.
    """

    name: str
    path: Path
    size_bytes: int
    operators: Optional[dict[str, int]]
    latency_ms: Optional[float]


@dataclass(frozen=True)
class Parity:
    """The whole comparison; the first model is the reference."""

    models: tuple[ModelFacts, ...]
    results: dict[str, dict[str, ModelOnSet]]
    disagreements: tuple[Disagreement, ...]
    block: int
    rounds: int


def measure_parity(
    models: Sequence[Path], data: Sequence[DataSet], *, block: int, rounds: int, pictures: int
) -> Parity:
    """Run every model over every set.

    Args:
        models: ``.tflite``, ``.keras`` or ``.pb``; the first is what the others are held against.
        data: the sets.
        block: pictures in a row that are resampled together.
        rounds: of the latency measurement.
        pictures: how many of the most different ones to keep for each set.

    Raises:
        UserError: a model or a set cannot be used.
    """
    results: dict[str, dict[str, ModelOnSet]] = {}
    disagreements: list[Disagreement] = []
    loaded = [(item, load_labelled_pictures(item.labels, item.video)) for item in data]
    predictors = {path.stem: load_predictor(path) for path in models}
    for item, labelled in loaded:
        evaluations = {}
        for name, predict in predictors.items():
            title = f"{name} on {item.name}"
            evaluations[name] = evaluate_detector(
                predict,
                labelled,
                block=block,
                progress=partial(tqdm, total=len(labelled), desc=title, disable=None),
            )
        reference = models[0].stem
        results[item.name] = {}
        found: list[Disagreement] = []
        for name, evaluation in evaluations.items():
            if name == reference:
                results[item.name][name] = ModelOnSet(evaluation.scores)
                continue
            result, differing = _beside(evaluation, evaluations[reference], labelled, (item.name, name), block)
            results[item.name][name] = result
            found += differing
        disagreements += sorted(found, key=lambda one: -one.amount)[:pictures]
    latencies = _latencies([path for path in models if path.suffix == ".tflite"], rounds)
    facts = tuple(_facts(path, latencies.get(path)) for path in models)
    return Parity(facts, results, tuple(disagreements), block, rounds)


def _beside(
    mine: Evaluation, reference: Evaluation, data: LabelledPictures, names: tuple[str, str], block: int
) -> tuple[ModelOnSet, list[Disagreement]]:
    difference, interval = paired_difference(mine.matches, reference.matches, block)
    overlaps: list[float] = []
    changes: list[float] = []
    lost = extra = 0
    differing = []
    own, theirs = _by_picture(mine.rows), _by_picture(reference.rows)
    truth: dict[int, list[list[float]]] = {}
    for entry in data.coco["annotations"]:
        if not entry.get("iscrowd"):
            truth.setdefault(entry["image_id"], []).append(entry["bbox"])
    for record in data.coco["images"]:
        key = record["id"]
        their_boxes, their_scores = theirs.get(key, (np.zeros((0, 4)), np.zeros(0)))
        boxes, scores = own.get(key, (np.zeros((0, 4)), np.zeros(0)))
        seen, shown = their_scores >= _SEEN_SCORE, scores >= _SEEN_SCORE
        iou = iou_matrix(their_boxes, boxes)
        has = iou[seen].max(axis=1, initial=0.0) >= _MATCH_IOU
        known = iou[:, shown].max(axis=0, initial=0.0) >= _MATCH_IOU
        best = iou[seen].argmax(axis=1)[has] if len(boxes) else np.zeros(0, np.int64)
        overlaps += iou[seen].max(axis=1, initial=0.0)[has].tolist()
        change = np.abs(their_scores[seen][has] - scores[best])
        changes += change.tolist()
        missing, new = int((~has).sum()), int((~known).sum())
        lost, extra = lost + missing, extra + new
        amount = missing + new + float(change.mean() if len(change) else 0.0)
        people = _corners(np.array(truth.get(key, []), np.float64))
        weak = np.concatenate([their_boxes[their_scores >= _HIDDEN_SCORE], boxes[scores >= _HIDDEN_SCORE]])
        differing.append(Disagreement(*names, key, amount, their_boxes[seen], boxes[shown], people, weak))
    agreement = (float(np.mean(overlaps)), float(np.mean(changes))) if overlaps else None
    return ModelOnSet(mine.scores, difference, interval, agreement, lost, extra), differing


def _by_picture(rows: list[dict[str, Any]]) -> dict[int, tuple[FloatArray, FloatArray]]:
    """Return boxes (xyxy) and scores of each picture."""
    grouped: dict[int, list[list[float]]] = {}
    for row in rows:
        grouped.setdefault(row["image_id"], []).append([*row["bbox"], row["score"]])
    return {key: (_corners(np.array(values)[:, :4]), np.array(values)[:, 4]) for key, values in grouped.items()}


def _corners(boxes: FloatArray) -> FloatArray:
    """Return (N, 4) x, y, width, height as xyxy."""
    rows = boxes.reshape(-1, 4)
    return np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:]])


def _facts(path: Path, latency: Optional[float]) -> ModelFacts:
    operators = count_operators(read_operators(path)) if path.suffix == ".tflite" else None
    return ModelFacts(path.stem, path, path.stat().st_size, operators, latency)


def _latencies(paths: Sequence[Path], rounds: int) -> dict[Path, float]:
    """Return the median time of one inference of each model, milliseconds; the models take turns."""
    picture: Image = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    prepared = []
    for path in paths:
        detector = load_detector(ModelConfig(path=path, low_score_threshold=0.0))
        prepared.append((path, detector, detector.preprocess(picture)))
    times: dict[Path, list[float]] = {path: [] for path in paths}
    for _ in range(rounds):
        for path, detector, (tensor, geometry) in prepared:
            started = time.perf_counter()
            detector.decode(detector.invoke(tensor), geometry)
            times[path].append(1000.0 * (time.perf_counter() - started))
    return {path: statistics.median(values) for path, values in times.items()}

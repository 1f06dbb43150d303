"""COCO metrics by pycocotools, by person height as well, with the sampling error of AP50."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edge_app.box_overlap import shared_area
from edge_app.errors import UserError
from edge_app.records import BoolArray, Detections, FloatArray, IntArray
from training.evaluation.ignore_regions import IgnoreRegions
from training.evaluation.labelled_pictures import LabelledPictures
from training.evaluation.predictors import Predictor

# Person heights as the detector sees them: pixels of a picture that was scaled to 300 rows.
HEIGHT_BANDS = {"all": (0.0, 1e5), "under 32": (0.0, 32.0), "32 to 64": (32.0, 64.0), "64 to 128": (64.0, 128.0),
                "over 128": (128.0, 1e5)}  # fmt: skip
_INPUT_ROWS = 300.0
_MOST_DETECTIONS = 100
_BOOTSTRAPS = 1000
FIXED_PRECISION = 0.9


@dataclass(frozen=True)
class PictureMatches:
    """Matches at IoU 0.5 of one picture: scores, whether right, and the number of people to find."""

    score: FloatArray
    right: BoolArray
    people: int


@dataclass(frozen=True)
class DetectionScores:
    """The figures of one model on one set.

    Attributes:
        pictures, people: size of the set.
        ap, ap50, ap75: COCO average precision, 101 recall points.
        ar100: average recall with 100 detections.
        ap50_all_points: AP at IoU 0.5 as the area under the interpolated curve (Pascal VOC 2010).
        ap50_interval: 95 % interval of ``ap50_all_points`` over blocks of pictures.
        by_height: AP50, average recall and number of people in each band of height.
        recall_at_precision: largest part of the people found at IoU 0.5 with a precision of 0.9 or more.
        best_f1: largest F1 at IoU 0.5 of any score threshold, and that threshold.
    """

    pictures: int
    people: int
    ap: float
    ap50: float
    ap75: float
    ar100: float
    ap50_all_points: float
    ap50_interval: tuple[float, float]
    by_height: dict[str, dict[str, float]]
    recall_at_precision: float
    best_f1: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """A scored run over a set.

    Attributes:
        scores: the figures.
        matches: of each picture, in the order of the labels.
        rows: all detections in COCO's result format.
    """

    scores: DetectionScores
    matches: list[PictureMatches]
    rows: list[dict[str, Any]]


def evaluate_detector(predict: Predictor, data: LabelledPictures, *, block: int, progress: Any = iter) -> Evaluation:
    """Run a detector over a labelled set and score it.

    Args:
        predict: the detector.
        data: the set.
        block: pictures in a row that are resampled together for the sampling error, since neighbours are alike.
        progress: wraps the iteration over pictures, such as ``tqdm``.
    """
    truth = _truth(data)
    rows = _detections(predict, data, truth, progress)
    if not rows:
        raise UserError("the model found nobody in the whole set; check the model and the labels")
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes(rows)
        _use_heights(truth, found)
        evaluation = _run(truth, found, data)
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    matches = picture_matches(evaluation)
    bands = {
        name: {
            "ap50": _mean(precision[0, :, 0, index, -1]),
            "ar100": _mean(recall[:, 0, index, -1]),
            "people": float(_people_in(truth, data, limits)),
        }
        for index, (name, limits) in enumerate(HEIGHT_BANDS.items())
        if index > 0
    }
    scores = DetectionScores(
        len(data),
        sum(match.people for match in matches),
        _mean(precision[:, :, 0, 0, -1]),
        _mean(precision[0, :, 0, 0, -1]),
        _mean(precision[5, :, 0, 0, -1]),
        _mean(recall[:, 0, 0, -1]),
        average_precision(matches),
        bootstrap_interval(matches, block),
        bands,
        recall_at_precision(matches, FIXED_PRECISION),
        best_f1(matches),
    )
    return Evaluation(scores, matches, rows)


def average_precision(matches: list[PictureMatches]) -> float:
    """Return the area under the precision-recall curve, precision made non-increasing from the right."""
    people = sum(match.people for match in matches)
    right = _by_score(matches)
    if people == 0 or len(right) == 0:
        return float("nan")
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope[right]) / people)


def recall_at_precision(matches: list[PictureMatches], precision: float) -> float:
    """Return the largest recall that any score threshold reaches with at least this precision."""
    right = _by_score(matches)
    true_positives = np.cumsum(right)
    good = true_positives >= precision * np.arange(1, len(right) + 1)
    people = sum(match.people for match in matches)
    return float(true_positives[good].max(initial=0) / people) if people else float("nan")


def best_f1(matches: list[PictureMatches]) -> tuple[float, float]:
    """Return the largest F1 that any score threshold reaches, and the threshold: where to operate the model."""
    people = sum(match.people for match in matches)
    right = _by_score(matches)
    if people == 0 or len(right) == 0:
        return float("nan"), float("nan")
    f1 = 2 * np.cumsum(right) / (people + np.arange(1, len(right) + 1))
    best = int(f1.argmax())
    return float(f1[best]), float(np.sort(np.concatenate([match.score for match in matches]))[::-1][best])


def paired_difference(
    matches: list[PictureMatches], reference: list[PictureMatches], block: int, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return AP50 less the reference's on the same pictures, and its 95 % interval.

    Blocks of pictures are drawn with replacement, the same ones for both: what makes a picture hard is hard for both.
    """
    difference = average_precision(matches) - average_precision(reference)
    blocks = [slice(start, start + block) for start in range(0, len(matches), block)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(_BOOTSTRAPS):
        drawn = [blocks[index] for index in rng.integers(0, len(blocks), len(blocks))]
        mine = [match for part in drawn for match in matches[part]]
        theirs = [match for part in drawn for match in reference[part]]
        values.append(average_precision(mine) - average_precision(theirs))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return difference, (float(low), float(high))


def _by_score(matches: list[PictureMatches]) -> BoolArray:
    """Return whether each detection of all pictures is right, the surest first."""
    score = np.concatenate([match.score for match in matches])
    return np.concatenate([match.right for match in matches])[np.argsort(-score, kind="stable")]


def bootstrap_interval(matches: list[PictureMatches], block: int, seed: int = 0) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of AP50 when blocks of pictures are drawn with replacement."""
    blocks = [matches[start : start + block] for start in range(0, len(matches), block)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(_BOOTSTRAPS):
        drawn = rng.integers(0, len(blocks), len(blocks))
        values.append(average_precision([match for index in drawn for match in blocks[index]]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def picture_matches(evaluation: COCOeval) -> list[PictureMatches]:
    """Take the matches at IoU 0.5, all heights, out of an evaluation, in the order of its pictures."""
    per_area = len(evaluation.params.imgIds)
    matches = []
    for record in evaluation.evalImgs[:per_area]:
        if record is None:
            matches.append(PictureMatches(np.zeros(0), np.zeros(0, np.bool_), 0))
            continue
        counted = ~record["dtIgnore"][0].astype(bool)
        score = np.array(record["dtScores"], np.float64)[counted]
        right = record["dtMatches"][0].astype(bool)[counted]
        matches.append(PictureMatches(score, right, int((~np.array(record["gtIgnore"], bool)).sum())))
    return matches


def drop_unannotated(
    detections: Detections, data: LabelledPictures, truth_bbox: FloatArray, size: IntArray
) -> Detections:
    """Drop detections of people that the labels leave out by their stated rule, unless they match a label."""
    if len(detections) == 0 or len(data.ignore_rects_foot) == 0:
        return detections
    bbox = detections.bbox.astype(np.float64)
    left_out = IgnoreRegions(data.ignore_rects_foot, int(size[0]), int(size[1])).covers(bbox)
    return detections[~(left_out & ~_matches_any(bbox, truth_bbox))]


def _matches_any(boxes: FloatArray, truth: FloatArray) -> BoolArray:
    """Tell which (N, 4) boxes have an IoU of 0.5 or more with one of the (M, 4) true ones, both xyxy."""
    shared = shared_area(boxes[:, None], truth[None])
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None] + np.prod(truth[:, 2:] - truth[:, :2], axis=1)[None]
    return (shared >= 0.5 * (area - shared)).any(axis=1)


def _truth(data: LabelledPictures) -> COCO:
    """Make the ground truth, with ``area`` free to be replaced by heights later."""
    truth = COCO()
    annotations = [
        {**entry, "iscrowd": int(entry.get("iscrowd", 0)), "area": float(entry["bbox"][2] * entry["bbox"][3])}
        for entry in data.coco["annotations"]
        if entry["category_id"] == data.person_category
    ]
    truth.dataset = {**data.coco, "annotations": annotations, "info": data.coco.get("info", {})}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _detections(predict: Predictor, data: LabelledPictures, truth: COCO, progress: Any) -> list[dict[str, Any]]:
    rows = []
    for record, picture in progress(data.pictures()):
        entries = [entry for entry in truth.imgToAnns[record["id"]] if not entry["iscrowd"]]
        boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = drop_unannotated(predict(picture), data, boxes, np.array(picture.shape[1::-1]))
        for (left, top, right, bottom), score in zip(found.bbox.tolist(), found.score.tolist()):
            rows.append(
                {"image_id": record["id"], "category_id": data.person_category, "score": score,
                 "bbox": [left, top, right - left, bottom - top]}
            )  # fmt: skip
    return rows


def _use_heights(truth: COCO, found: COCO) -> None:
    """Put the squared height, in pixels of a 300-row picture, where pycocotools looks for the area."""
    rows = {record["id"]: float(record["height"]) for record in truth.dataset["images"]}
    for coco in (truth, found):
        for entry in coco.anns.values():
            entry["area"] = (entry["bbox"][3] * _INPUT_ROWS / rows[entry["image_id"]]) ** 2


def _run(truth: COCO, found: COCO, data: LabelledPictures) -> COCOeval:
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.params.catIds = [data.person_category]
    # Pictures stay in the order of the labels: neighbours in time are resampled together.
    evaluation.params.imgIds = [record["id"] for record in data.coco["images"]]
    evaluation.params.maxDets = [_MOST_DETECTIONS]
    evaluation.params.areaRng = [[low**2, high**2] for low, high in HEIGHT_BANDS.values()]
    evaluation.params.areaRngLbl = list(HEIGHT_BANDS)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _people_in(truth: COCO, data: LabelledPictures, limits: tuple[float, float]) -> int:
    return sum(
        not entry["iscrowd"] and limits[0] ** 2 <= entry["area"] < limits[1] ** 2 for entry in truth.anns.values()
    )


def _mean(values: Any) -> float:
    """Return the mean of what is defined; pycocotools marks the rest by -1."""
    values = np.asarray(values)
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")

"""The figures of a scene as a table for people and as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from training.scene_evaluation.alignment import GROUND_M
from training.scene_evaluation.camera_accuracy import CameraAccuracy
from training.scene_evaluation.close_pairs import Interval, PairScores
from training.scene_evaluation.error_summary import ErrorSummary
from training.scene_evaluation.evaluation import SceneReport, Variant
from training.scene_evaluation.track_pairs import TrackPairs

PLAIN = "Tracks, as MOTChallenge scores"
IGNORING = "Tracks, without boxes where nobody is annotated (--ignore)"


def report_json(report: SceneReport) -> dict[str, Any]:
    """Return the report as JSON values: the dataclasses as mappings, undefined figures as null."""
    content: dict[str, Any] = json_values(asdict(report))
    for name, variant in (("plain", report.plain), ("ignoring", report.ignoring)):
        if variant is None:
            continue
        if variant.pairs is not None:
            content[name]["pairs"]["close_pairs"] = scores_json(variant.pairs.close_pairs)
        if variant.events is not None:
            content[name]["events"] = scores_json(variant.events)
        if variant.ground_pairs is not None:
            content[name]["ground_pairs"]["close_pairs"] = scores_json(variant.ground_pairs.close_pairs)
        if variant.ground_events is not None:
            content[name]["ground_events"] = scores_json(variant.ground_events)
    if report.camera is not None:
        content["camera"]["close_pairs"] = scores_json(report.camera.close_pairs)
    content["older_formulas"] = {name: scores_json(scores) for name, scores in report.older_formulas.items()}
    return content


def report_text(report: SceneReport) -> str:
    """Return the report as a table."""
    seconds = report.frames / report.fps
    lines = [
        f"{report.frames} frames, {seconds:.1f} s at {report.fps:g} frames a second, {report.people} people; "
        f"close: under {report.threshold_m:g} m"
    ]
    lines += _variant_lines(PLAIN, report.plain)
    if report.ignoring is not None:
        lines += _variant_lines(IGNORING, report.ignoring)
    if report.camera is not None:
        lines += _camera_lines(report.camera)
    lines += ["", "For comparison: the older app's distances on the same perfect boxes"]
    lines += [scores_line(name, scores) for name, scores in report.older_formulas.items()]
    return "\n".join(lines)


def _variant_lines(title: str, variant: Variant) -> Iterator[str]:
    tracking = variant.tracking
    yield from ["", title]
    yield (
        f"  MOTA {_rate(tracking.mota)}  IDF1 {_rate(tracking.idf1)}  "
        f"precision {_rate(tracking.precision)}  recall {_rate(tracking.recall)}"
    )
    yield (
        f"  {tracking.people_boxes} boxes of people, {tracking.misses} missed; {tracking.track_boxes} boxes of tracks, "
        f"{tracking.false_positives} false; {tracking.switches} switches, {tracking.fragmentations} fragmentations"
    )
    if variant.pairs is None:
        yield "  no distances: the tracks have no positions on the ground (analysed without a calibration)"
    else:
        yield from _pair_lines(variant.pairs)
    if variant.events is not None:
        yield scores_line("events", variant.events)
    if variant.ground_pairs is not None:
        yield f"  people matched by their place, less than {GROUND_M:g} m apart, not by their boxes:"
        yield from _pair_lines(variant.ground_pairs)
    if variant.ground_events is not None:
        yield scores_line("events", variant.ground_events)


def _pair_lines(pairs: TrackPairs) -> Iterator[str]:
    yield scores_line("close pairs", pairs.close_pairs)
    intervals = pairs.intervals
    yield (
        f"  {'  95 % interval':<28} P {_interval(intervals.precision)}  R {_interval(intervals.recall)}  "
        f"F1 {_interval(intervals.f1)}  (bootstrap of {intervals.blocks} blocks of 10 s)"
    )
    yield (
        f"  {'  of these':<28} {pairs.wrong_without_person} wrong with a track that shows nobody, "
        f"{pairs.missed_without_track} missed with a person without a track"
    )
    yield _error_line("distance error, pairs < 4 m", pairs.near_pair_distance)


def _camera_lines(camera: CameraAccuracy) -> Iterator[str]:
    yield from ["", "Camera alone: feet of perfect boxes against true positions"]
    if camera.without_position:
        yield f"  {camera.without_position} feet at or above the horizon have no position and are left out"
    yield _error_line("position", camera.position)
    yield _error_line("distance, all pairs", camera.pair_distance)
    yield _error_line("distance, pairs < 4 m", camera.near_pair_distance)
    for name, summary in camera.near_by_direction.items():
        yield _error_line(f"  in {name}" if name == "depth" else f"  {name}", summary)
    for name, summary in camera.near_by_range.items():
        yield _error_line(f"  {name} from the camera" if name[0].isdigit() else f"  {name}", summary)
    yield scores_line("close pairs", camera.close_pairs)


def scores_line(name: str, scores: PairScores) -> str:
    """Return precision, recall, F1 and the counts on one line."""
    return (
        f"  {name:<28} P {_rate(scores.precision)}  R {_rate(scores.recall)}  F1 {_rate(scores.f1)}  "
        f"({scores.true_positives} right, {scores.false_positives} wrong, {scores.false_negatives} missed)"
    )


def _error_line(name: str, summary: ErrorSummary) -> str:
    return f"  {name:<28} median {_rate(summary.median_m)} m  p90 {_rate(summary.p90_m)} m  (n = {summary.count})"


def _rate(value: float) -> str:
    return "  n/a" if math.isnan(value) else f"{value:.3f}"


def _interval(interval: Interval) -> str:
    return f"{_rate(interval[0])}-{_rate(interval[1])}"


def scores_json(scores: PairScores) -> dict[str, Any]:
    """Return counts and rates as JSON values."""
    rates = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    return {**asdict(scores), **{name: json_values(value) for name, value in rates.items()}}


def json_values(value: Any) -> Any:
    """Round floats to 4 digits (below what 10 s blocks can tell) and turn NaN, which JSON lacks, into null."""
    if isinstance(value, dict):
        return {key: json_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value

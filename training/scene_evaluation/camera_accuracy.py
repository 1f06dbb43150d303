"""What the camera model alone does to distances: feet of perfect boxes against the true positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_app.calibration import CameraModel, PinholeCamera
from edge_app.records import BoolArray, FloatArray
from training.scene_evaluation.close_pairs import PairScores, count_same_people, distance_matrix, pair_scores
from training.scene_evaluation.error_summary import NEAR_M, ErrorSummary
from training.scene_evaluation.older_formulas import OLDER_FORMULAS
from training.scene_evaluation.scene_files import SceneRows

_RANGE_EDGES_M = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, np.inf)


@dataclass(frozen=True)
class CameraAccuracy:
    """Accuracy with perfect boxes.

    Attributes:
        without_position: boxes whose foot the camera sees at or above the horizon; they are in no other figure.
        position: distance between the measured and the true position of a person.
        pair_distance: absolute error of the distance of two people, over all pairs in a frame.
        near_pair_distance: the same over pairs that are truly under 4 m apart.
        near_by_range: the near pairs by the distance of their middle from the camera, metres along the ground; empty
            for a homography, which does not say where the camera stands.
        near_by_direction: the near pairs by their direction: ``depth`` where the line between the two points more
            along the view than across it, else ``lateral``; empty for a homography.
        close_pairs: pairs under the threshold, frame by frame.
    """

    without_position: int
    position: ErrorSummary
    pair_distance: ErrorSummary
    near_pair_distance: ErrorSummary
    near_by_range: dict[str, ErrorSummary]
    near_by_direction: dict[str, ErrorSummary]
    close_pairs: PairScores


@dataclass(frozen=True)
class _PairErrors:
    """All pairs of all frames: true distance, absolute error, distance from the camera, cosine to the view."""

    true_m: FloatArray
    error_m: FloatArray
    range_m: FloatArray
    cosine: FloatArray


def measure_camera(people: SceneRows, camera: CameraModel, threshold_m: float) -> CameraAccuracy:
    """Send the feet (bottom centres) of annotated boxes through the camera and compare with the annotated positions.

    Args:
        people: ground truth; rows flagged 0 do not count.
        camera: the calibration under test.
        threshold_m: under which a pair is close.
    """
    people = people[people.score >= 1]
    foot = np.column_stack([(people.bbox[:, 0] + people.bbox[:, 2]) / 2, people.bbox[:, 3]])
    measured = camera.image_to_ground(foot)
    valid = np.isfinite(measured).all(axis=1)
    residual = np.hypot(*(measured[valid] - people.xy_m[valid]).T)
    counts = []
    for here in _frames(people):
        reported = distance_matrix(measured[here]) < threshold_m
        counts.append(count_same_people(reported, distance_matrix(people.xy_m[here]) < threshold_m))
    errors = _pair_errors(people[valid], measured[valid], camera)
    near = errors.true_m < NEAR_M
    return CameraAccuracy(
        without_position=int((~valid).sum()),
        position=ErrorSummary.of(residual),
        pair_distance=ErrorSummary.of(errors.error_m),
        near_pair_distance=ErrorSummary.of(errors.error_m[near]),
        near_by_range=_by_range(errors, near),
        near_by_direction=_by_direction(errors, near),
        close_pairs=pair_scores(np.array(counts)),
    )


def measure_older_formulas(people: SceneRows, threshold_m: float) -> dict[str, PairScores]:
    """Score the older app's two uncalibrated distances on the same perfect boxes and threshold."""
    people = people[people.score >= 1]
    scores = {}
    for name, formula in OLDER_FORMULAS.items():
        counts = [
            count_same_people(
                formula(people.bbox[here]) < threshold_m, distance_matrix(people.xy_m[here]) < threshold_m
            )
            for here in _frames(people)
        ]
        scores[name] = pair_scores(np.array(counts))
    return scores


def _frames(people: SceneRows) -> list[BoolArray]:
    return [people.frame == frame for frame in np.unique(people.frame)]


def _pair_errors(people: SceneRows, measured: FloatArray, camera: CameraModel) -> _PairErrors:
    rows: list[FloatArray] = [np.zeros((0, 4))]
    for here in _frames(people):
        first, second = np.triu_indices(int(here.sum()), k=1)
        true_xy = people.xy_m[here]
        true_m = distance_matrix(true_xy)[first, second]
        error_m = np.abs(distance_matrix(measured[here])[first, second] - true_m)
        range_m, cosine = _seen_from(camera, true_xy[first], true_xy[second])
        rows.append(np.column_stack([true_m, error_m, range_m, cosine]))
    return _PairErrors(*np.vstack(rows).T)


def _seen_from(camera: CameraModel, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the camera's distance from the middle of each pair and the |cosine| of pair and view, on the ground."""
    if not isinstance(camera, PinholeCamera):
        return np.full(len(a), np.nan), np.full(len(a), np.nan)
    view = (a + b) / 2 - camera.position_m[:2]
    range_m = np.hypot(*view.T)
    line = b - a
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.abs((line * view).sum(axis=1)) / (range_m * np.hypot(*line.T))
    return range_m, cosine


def _by_range(errors: _PairErrors, near: BoolArray) -> dict[str, ErrorSummary]:
    summaries = {}
    for low, high in zip(_RANGE_EDGES_M, _RANGE_EDGES_M[1:]):
        inside = near & (errors.range_m >= low) & (errors.range_m < high)
        if inside.any():
            name = f"{low:.0f}-{high:.0f} m" if np.isfinite(high) else f"from {low:.0f} m"
            summaries[name] = ErrorSummary.of(errors.error_m[inside])
    return summaries


def _by_direction(errors: _PairErrors, near: BoolArray) -> dict[str, ErrorSummary]:
    along = errors.cosine >= np.sqrt(0.5)
    across = errors.cosine < np.sqrt(0.5)
    split = {"depth": near & along, "lateral": near & across}
    return {name: ErrorSummary.of(errors.error_m[inside]) for name, inside in split.items() if inside.any()}

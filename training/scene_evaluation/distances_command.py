"""``python -m training evaluate-distances``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

import click
import numpy as np

from edge_app.calibration import CameraModel, load_camera
from edge_app.config import Config, ModelConfig, load_config
from edge_app.errors import UserError
from edge_app.pipeline import camera_for
from training.scene_evaluation.calibrations import (
    Figures,
    Ground,
    SeenPeople,
    describe,
    detect_all,
    horizontal_field_deg,
    older_on_tracks,
    perfect_tracks,
    run_detections,
    run_perfect,
    score,
    self_calibrate,
    uncalibrated_tracks,
)
from training.scene_evaluation.camera_accuracy import measure_older_formulas
from training.scene_evaluation.close_pairs import PairScores
from training.scene_evaluation.report import json_values, scores_json, scores_line
from training.scene_evaluation.scene_files import SceneRows, read_ground_truth, read_ignore_regions

_FILE = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class Section:
    """Figures of one kind of boxes: ours with each calibration, and the older app's formulas for comparison."""

    boxes: str
    figures: list[Figures]
    older_formulas: dict[str, PairScores]


@click.command("evaluate-distances")
@click.option("--gt", "ground_truth", type=_FILE, required=True, help="MOTChallenge ground truth with world x, y.")
@click.option("--video", type=_FILE, help="The video: adds the figures with our own detections and tracks.")
@click.option("--camera", "camera_file", type=_FILE, help="Camera file in any metric frame: the calibrated figures.")
@click.option("--size", type=click.IntRange(min=16), nargs=2, metavar="WIDTH HEIGHT",
              help="Of the picture; default: the video's or the camera's.")  # fmt: skip
@click.option("--fps", type=_POSITIVE, required=True, help="True frame rate.")
@click.option("--hfov-deg", type=click.FloatRange(5, 150),
              help="Field of view for self-calibration; default: the camera's.")  # fmt: skip
@click.option("--threshold-m", type=_POSITIVE, help="Pairs under this are close; default: the configuration's.")
@click.option("--world-unit-m", type=_POSITIVE, default=1.0, show_default=True, help="Metres of a unit of world x, y.")
@click.option(
    "--ignore", type=_FILE, help="COCO JSON with ignore_rects_foot: leaves out boxes where nobody is annotated."
)
@click.option("--config", type=_FILE, help="Configuration of tracker and events; default: the defaults.")
@click.option("--model", type=_FILE, help="Detector; default: the configuration's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_distances(
    ground_truth: Path, video: Optional[Path], camera_file: Optional[Path], size: Optional[tuple[int, int]],
    fps: float, hfov_deg: Optional[float], threshold_m: Optional[float], world_unit_m: float, ignore: Optional[Path],
    config: Optional[Path], model: Optional[Path], as_json: bool,
) -> None:  # fmt: skip
    """Score distances and events of a scene: calibrated and self-calibrated, with perfect boxes and with our own.

    Perfect boxes are those of the ground truth, through the device's ground plane, distances and events. With --video
    the detector and the tracker take part, once with the tiles of each calibration (``tiles: {mode: off}`` in --config
    spares that time). Self-calibration sees the same boxes, once with the field of view and once
    without. The older app's two formulas are shown beside, for comparison only.
    """
    settings = _settings(config, model, threshold_m)
    people = read_ground_truth(ground_truth)
    people = replace(people, xy_m=people.xy_m * world_unit_m)
    regions = None if ignore is None else read_ignore_regions(ignore)
    ground = Ground(people, int(people.frame.max()), fps, regions)
    seen = None if video is None else detect_all(video, fps, settings, ground.frames)
    size = size or (seen.size if seen is not None else None)
    if size is None and camera_file is not None:
        own = load_camera(camera_file)
        size = own.image_width, own.image_height
    if size is None:
        raise click.UsageError("give --size WIDTH HEIGHT, or --video or --camera")
    camera = camera_for(settings.model_copy(update={"calibration": camera_file}), size)
    if camera is not None and hfov_deg is None:
        hfov_deg = horizontal_field_deg(camera)
    sections = [_perfect(ground, camera, size, hfov_deg, settings)]
    if seen is not None:
        sections.append(_own(ground, seen, camera, hfov_deg, settings))
    click.echo(_json(sections) if as_json else _text(sections, ground, settings))


def _settings(config: Optional[Path], model: Optional[Path], threshold_m: Optional[float]) -> Config:
    settings = load_config(config)
    if model is not None:
        settings = settings.model_copy(update={"model": ModelConfig(**{**dict(settings.model), "path": model})})
    if threshold_m is not None:
        distance = settings.distance.model_copy(update={"threshold_m": threshold_m})
        settings = settings.model_copy(update={"distance": distance})
    return settings


def _perfect(
    ground: Ground, camera: Optional[CameraModel], size: tuple[int, int], hfov_deg: Optional[float], settings: Config
) -> Section:
    figures = []
    if camera is not None:
        figures.append(score(run_perfect(ground, camera, settings), ground, "calibrated", settings))
    for field in _fields(hfov_deg):
        found = self_calibrate(perfect_tracks(ground.people, ground.frames), ground.fps, size, field)
        if found is None:
            raise UserError("nobody in the ground truth is seen whole; check --size")
        run = run_perfect(ground, found.camera, settings)
        figures.append(score(run, ground, describe(found, field), settings))
    older = measure_older_formulas(ground.people, settings.distance.threshold_m)
    return Section("boxes of the ground truth", figures, older)


def _own(
    ground: Ground, seen: SeenPeople, camera: Optional[CameraModel], hfov_deg: Optional[float], settings: Config
) -> Section:
    figures = []
    rows: Optional[SceneRows] = None
    if camera is not None:
        run = run_detections(seen, camera, settings)
        figures.append(score(run, ground, "calibrated", settings))
        rows = run.rows
    for field in _fields(hfov_deg):
        found = self_calibrate(uncalibrated_tracks(seen, settings), ground.fps, seen.size, field)
        if found is None:
            raise UserError("nobody was seen whole in the video; the detector finds too little here")
        run = run_detections(seen, found.camera, settings)
        figures.append(score(run, ground, describe(found, field), settings))
        rows = run.rows if rows is None else rows
    assert rows is not None
    older = older_on_tracks(rows, ground, settings.distance.threshold_m)
    return Section(f"our own detections ({seen.detector.name}) and tracks", figures, older)


def _fields(hfov_deg: Optional[float]) -> list[Optional[float]]:
    return [None] if hfov_deg is None else [hfov_deg, None]


def _text(sections: list[Section], ground: Ground, settings: Config) -> str:
    counting = len(np.unique(ground.people.id[ground.people.score >= 1]))
    lines = [
        f"{ground.frames} frames at {ground.fps:g} a second, {counting} people; close: under "
        f"{settings.distance.threshold_m:g} m; events match by an overlap in time of at least 0.5"
    ]
    for section in sections:
        lines += ["", f"With {section.boxes}"]
        for figures in section.figures:
            near = figures.near_distance
            covered = (
                ""
                if np.isnan(figures.coverage_90)
                else f"; stated 90 % interval holds {100 * figures.coverage_90:.0f} %"
            )
            lines += [
                f" {figures.calibration}",
                scores_line("  close pairs", figures.close_pairs),
                scores_line("  events", figures.events),
                f"    distance error, pairs < 4 m: median {near.median_m:.3f} m, p90 {near.p90_m:.3f} m "
                f"(n = {near.count}){covered}",
            ]
        lines.append(" for comparison only: the older app's distances on the same boxes")
        lines += [scores_line(f"  {name}", scores) for name, scores in section.older_formulas.items()]
    return "\n".join(lines)


def _json(sections: list[Section]) -> str:
    content: list[dict[str, Any]] = []
    for section in sections:
        figures = []
        for one in section.figures:
            values = json_values(asdict(one))
            values["close_pairs"], values["events"] = scores_json(one.close_pairs), scores_json(one.events)
            figures.append(values)
        older = {name: scores_json(scores) for name, scores in section.older_formulas.items()}
        content.append({"boxes": section.boxes, "figures": figures, "older_formulas_for_comparison": older})
    return json.dumps(content, indent=2)

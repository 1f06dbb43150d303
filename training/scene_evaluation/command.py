"""``python -m training evaluate-scene``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional

import click

from edge_app.config import load_config
from edge_app.errors import UserError
from training.scene_evaluation.evaluation import SceneInputs, evaluate
from training.scene_evaluation.report import report_json, report_text

_FILE = click.Path(path_type=Path)


@click.command("evaluate-scene")
@click.option("--gt", "ground_truth", type=_FILE, required=True, help="MOTChallenge ground truth with world x, y.")
@click.option("--tracks", type=_FILE, required=True, help="tracks.txt of 'edge_app analyze'.")
@click.option("--camera", type=_FILE, help="Camera file: adds the accuracy with perfect boxes.")
@click.option("--fps", type=float, help="True frame rate; default: the one in summary.json beside the tracks.")
@click.option("--threshold-m", type=float, default=2.0, show_default=True, help="Pairs under this are close, metres.")
@click.option("--ignore", type=_FILE, help="COCO JSON with ignore_rects_foot: adds figures without unannotated people.")
@click.option("--events", type=_FILE, help="events.csv of the same analysis: adds the accuracy of events.")
@click.option("--config", type=_FILE, help="Configuration of the analysis, for its event rules; default: the defaults.")
@click.option("--excerpt", metavar="FIRST:LAST", help="Frames of the ground truth that the video shows, from 1.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_scene(
    ground_truth: Path,
    tracks: Path,
    camera: Optional[Path],
    fps: Optional[float],
    threshold_m: float,
    ignore: Optional[Path],
    events: Optional[Path],
    config: Optional[Path],
    excerpt: Optional[str],
    as_json: bool,
) -> None:
    """Score tracks, distances and events of one scene against ground truth with positions on the ground."""
    inputs = SceneInputs(
        ground_truth=ground_truth,
        tracks=tracks,
        camera=camera,
        fps=None if fps is None else _positive("--fps", fps),
        threshold_m=_positive("--threshold-m", threshold_m),
        ignore=ignore,
        events=events,
        event_rules=load_config(config).events,
        excerpt=None if excerpt is None else _parse_excerpt(excerpt),
    )
    report = evaluate(inputs)
    click.echo(json.dumps(report_json(report), indent=2) if as_json else report_text(report))


def _positive(option: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise UserError(f"{option} {value:g} is not a positive number; give one above 0")
    return value


def _parse_excerpt(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--excerpt {text} is not FIRST:LAST; give two frame numbers from 1, such as 181:320")
    return int(match[1]), int(match[2])

"""``python -m training evaluate-hiding``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import click
import numpy as np

from edge_app.config import load_config
from training.scene_evaluation.hiding import measure_hiding
from training.scene_evaluation.scene_files import read_ground_truth

_FILE = click.Path(path_type=Path)


@click.command("evaluate-hiding")
@click.argument("video", type=_FILE)
@click.option("--gt", "ground_truth", type=_FILE, required=True, help="MOTChallenge ground truth of the video.")
@click.option("--config", type=_FILE, required=True, help="Configuration, as for 'edge_app run'.")
@click.option(
    "--tiles-a-frame", type=click.IntRange(min=0), help="Look at so many tiles a frame, as a slow device; default: all."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_hiding(video: Path, ground_truth: Path, config: Path, tiles_a_frame: Optional[int], as_json: bool) -> None:
    """Count annotated people who are not hidden in the live picture: of whom less than half is covered.

    Motion gate, tiles, weak detections and tracks take part as in ``run``, but every frame of the video comes in turn.
    """
    hiding = measure_hiding(load_config(config), video, read_ground_truth(ground_truth), tiles_a_frame)
    figures = {
        "annotated": len(hiding.covered),
        "shown": hiding.shown,
        "shown_frames": hiding.shown_frames.tolist(),
        "covered_p1": float(np.percentile(hiding.covered, 1)) if len(hiding.covered) else None,
        "covered_least": float(hiding.covered.min()) if len(hiding.covered) else None,
        "picture_hidden_mean": float(hiding.picture.mean()) if len(hiding.picture) else None,
        "frames": len(hiding.picture),
        "frames_passed_over": hiding.passed_over,
    }
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    click.echo(
        f"{figures['shown']} of {figures['annotated']} annotated people are covered by less than half, in frames "
        f"{', '.join(str(frame) for frame in figures['shown_frames']) or 'none'}"
    )
    if len(hiding.covered):
        click.echo(f"covered: least {hiding.covered.min():.2f}, 1st percentile {figures['covered_p1']:.2f}")
    click.echo(
        f"{100 * figures['picture_hidden_mean']:.1f} % of the picture is hidden on average; "
        f"{hiding.passed_over} of {figures['frames']} frames were passed over by the motion gate"
    )

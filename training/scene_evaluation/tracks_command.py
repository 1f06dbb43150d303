"""``python -m training evaluate-tracks``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from training.scene_evaluation.hota import score_hota
from training.scene_evaluation.scene_files import read_ground_truth, read_tracks

_FILE = click.Path(path_type=Path)


@click.command("evaluate-tracks")
@click.option("--gt", "ground_truth", type=_FILE, required=True, help="MOTChallenge ground truth with world x, y.")
@click.option("--tracks", type=_FILE, required=True, help="tracks.txt of 'edge_app analyze'.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="as given to 'analyze'.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_tracks(ground_truth: Path, tracks: Path, every: int, as_json: bool) -> None:
    """Score identities alone, also of a video of which every N-th frame was analysed: HOTA and IDF1."""
    scores = score_hota(read_ground_truth(ground_truth), read_tracks(tracks), every=every)
    if as_json:
        click.echo(json.dumps(asdict(scores), indent=2))
        return
    click.echo(
        f"HOTA {scores.hota:.3f}  DetA {scores.det_a:.3f}  AssA {scores.ass_a:.3f}  LocA {scores.loc_a:.3f}  "
        f"IDF1 {scores.idf1:.3f}"
    )

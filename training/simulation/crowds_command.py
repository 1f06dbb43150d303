"""``python -m training simulate-crowds``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import click
import numpy as np
from tqdm import tqdm

from edge_app.config import load_config
from training.scene_evaluation.close_pairs import PairScores
from training.simulation.crowds import CrowdScores, simulate_crowd
from training.simulation.scenes import Crowd
from training.simulation.seen_by_detector import DetectorModel

_RESAMPLES = 2000


@click.command("simulate-crowds")
@click.option("--scenes", type=click.IntRange(min=1), default=12, show_default=True, help="random cameras")
@click.option("--people", type=click.IntRange(min=2), default=8, show_default=True, help="walking at any time")
@click.option("--seconds", type=click.FloatRange(min=5), default=40.0, show_default=True, help="of each scene")
@click.option("--fps", type=click.FloatRange(min=1), default=7.0, show_default=True, help="frames a second")
@click.option("--together", type=click.FloatRange(0, 1), default=0.4, show_default=True,
              help="part of the people who may walk beside another one")  # fmt: skip
@click.option("--things", type=click.IntRange(min=0), default=2, show_default=True, help="things taken for people")
@click.option("--config", type=click.Path(path_type=Path), help="Its tracker, events and distance; default: defaults.")
@click.option("--recording", "in_hindsight", is_flag=True, help="judge in hindsight, as in a recording")
@click.option("--seed", type=int, default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate_crowds(
    scenes: int, people: int, seconds: float, fps: float, together: float, things: int, config: Optional[Path],
    in_hindsight: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Tell people, pairs and events from what a detector sees that misses, draws loose boxes and sees things.

    For choosing how tracks and events are made: mistakes of the detector's kind, cameras of every kind, and no scene on
    which results are reported. People wear two colours each. There are no pictures, so things that never move stay.
    """
    crowd = Crowd(people, seconds, fps, noise_time_s=0.3, together=together)
    model, chosen = DetectorModel(things=things), load_config(config)
    found = [
        simulate_crowd(seed + number, crowd, model, chosen, in_hindsight=in_hindsight)
        for number in tqdm(range(scenes), unit="scene", disable=None)
    ]
    results = {name: _summary([getattr(scores, name) for scores in found]) for name in ("boxes", "pairs", "events")}
    idf1 = _mean_idf1(found)
    if as_json:
        click.echo(json.dumps({**results, "idf1": idf1, "scenes": scenes}, indent=2))
        return
    for name, result in results.items():
        low, high = result["f1_95"]
        click.echo(
            f"{name}: F1 {result['f1']:.3f} (95 % {low:.3f} to {high:.3f}), precision {result['precision']:.3f}, "
            f"recall {result['recall']:.3f}"
        )
    click.echo(f"IDF1 {idf1:.3f}, mean of {scenes} scenes")


def _summary(scores: list[PairScores]) -> dict[str, Any]:
    """Sum the counts of all scenes; the interval is a bootstrap over scenes."""
    counts = np.array([[one.true_positives, one.false_positives, one.false_negatives] for one in scores])
    total = PairScores(*counts.sum(axis=0).tolist())
    draws = np.random.default_rng(0).integers(len(counts), size=(_RESAMPLES, len(counts)))
    right, wrong, missed = counts[draws].sum(axis=1).T
    f1 = 2 * right / np.maximum(2 * right + wrong + missed, 1)
    return {
        "f1": total.f1,
        "f1_95": np.percentile(f1, [2.5, 97.5]).tolist(),
        "precision": total.precision,
        "recall": total.recall,
    }


def _mean_idf1(found: list[CrowdScores]) -> float:
    return float(np.nanmean([scores.idf1 for scores in found]))

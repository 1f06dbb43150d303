"""``python -m training simulate-distances``."""

from __future__ import annotations

import json
from typing import Any, get_args

import click
import numpy as np
from tqdm import tqdm

from training.simulation.distances import CALIBRATIONS, Calibration, simulate_scene
from training.simulation.scenes import Crowd

# Distances of a scene that make its coverage a figure.
_ENOUGH = 30


@click.command("simulate-distances")
@click.option("--calibration", "kinds", multiple=True, type=click.Choice(get_args(Calibration)),
              help="how the camera is known; can be repeated; default: every way")  # fmt: skip
@click.option("--scenes", type=click.IntRange(min=1), default=20, show_default=True, help="random cameras")
@click.option("--people", type=click.IntRange(min=2), default=10, show_default=True, help="walking at any time")
@click.option("--seconds", type=click.FloatRange(min=5), default=180.0, show_default=True, help="of each scene")
@click.option("--fps", type=click.FloatRange(min=1), default=5.0, show_default=True, help="frames a second")
@click.option("--noise-px", type=click.FloatRange(min=0), default=2.0, show_default=True, help="of box edges, pixels")
@click.option("--noise-part", type=click.FloatRange(min=0), default=0.05, show_default=True,
              help="of box edges, part of the box height")  # fmt: skip
@click.option("--noise-time-s", type=click.FloatRange(min=0), default=0.0, show_default=True,
              help="in which a box's error is forgotten; 0: every frame's is new")  # fmt: skip
@click.option("--recording", "in_hindsight", is_flag=True, help="measure in hindsight, as in a recording")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate_distances(
    kinds: tuple[Calibration, ...], scenes: int, people: int, seconds: float, fps: float, noise_px: float,
    noise_part: float, noise_time_s: float, in_hindsight: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Check the stated errors of distances: cameras 2.2 to 12 m high, tilted 5 to 60 degrees, 40 to 110 degrees wide.

    Lenses are between a little pincushion and nearly equidistant ones. People walk through each scene and are tracked
    from noisy boxes, which also are too tall or too short as a whole in each scene; pairs truly 0.5 to 4 m apart are
    measured once a second and compared with the truth.
    """
    crowd = Crowd(people, seconds, fps, noise_px, noise_part, noise_time_s=noise_time_s)
    results = {kind: _summary(kind, scenes, seed, crowd, in_hindsight) for kind in kinds or get_args(Calibration)}
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    for kind, result in results.items():
        click.echo(f"{kind}: {CALIBRATIONS[kind]}")
        if not result["scenes"]:
            click.echo(f"  all {result['refused']} scenes were refused, or the calibration was not sure")
            continue
        click.echo(
            f"  stated 90 % interval holds {100 * result['coverage_90']:.1f} % of {result['pairs']} distances; "
            f"median error {100 * result['median_relative_error']:.1f} % (of the worst scene "
            f"{100 * result['worst_median_relative_error']:.1f} %); {result['scenes']} scenes, {result['refused']} "
            "refused or not sure"
        )


def _summary(kind: Calibration, scenes: int, seed: int, crowd: Crowd, in_hindsight: bool) -> dict[str, Any]:
    """Return the figures of one way to calibrate; coverage over all distances, and over scenes of 30 or more."""
    inside, errors, coverages, medians, refused = [], [], [], [], 0
    for number in tqdm(range(scenes), unit="scene", desc=kind, disable=None):
        _, found = simulate_scene(seed + number, kind, crowd, in_hindsight=in_hindsight)
        if found is None:
            refused += 1
        elif len(found):
            inside.append(found.is_inside)
            errors.append(found.relative_error)
            medians.append(found.median_relative_error)
            if len(found) >= _ENOUGH:
                coverages.append(found.coverage)
    return {
        "scenes": len(inside),
        "refused": refused,
        "pairs": int(sum(len(one) for one in inside)),
        "coverage_90": float(np.concatenate(inside).mean()) if inside else None,
        "coverage_90_of_scenes": float(np.mean(coverages)) if coverages else None,
        "median_relative_error": float(np.median(np.concatenate(errors))) if errors else None,
        "worst_median_relative_error": float(max(medians)) if medians else None,
    }

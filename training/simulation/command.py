"""``python -m training simulate-distances``."""

from __future__ import annotations

import json

import click
import numpy as np
from tqdm import tqdm


@click.command("simulate-distances")
@click.option("--calibration", type=click.Choice(["exact", "points", "self"]), default="exact", show_default=True,
              help="how the camera is known: exactly, from six clicked points, or from people who walk by")  # fmt: skip
@click.option("--scenes", type=click.IntRange(min=1), default=20, show_default=True, help="random cameras")
@click.option("--people", type=click.IntRange(min=2), default=10, show_default=True, help="walking at any time")
@click.option("--seconds", type=click.FloatRange(min=5), default=180.0, show_default=True, help="of each scene")
@click.option("--fps", type=click.FloatRange(min=1), default=5.0, show_default=True, help="frames a second")
@click.option("--noise-px", type=click.FloatRange(min=0), default=2.0, show_default=True, help="of box edges, pixels")
@click.option("--noise-part", type=click.FloatRange(min=0), default=0.05, show_default=True,
              help="of box edges, part of the box height")  # fmt: skip
@click.option("--noise-time-s", type=click.FloatRange(min=0), default=0.0, show_default=True,
              help="in which a box's error is forgotten; 0: every frame's is new")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate_distances(
    calibration: str, scenes: int, people: int, seconds: float, fps: float, noise_px: float, noise_part: float,
    noise_time_s: float, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Check the stated errors of distances: cameras 2.2 to 12 m high, tilted 5 to 60 degrees, 40 to 110 degrees wide.

    People walk through each scene and are tracked from noisy boxes; pairs truly 0.5 to 4 m apart are measured once a
    second and compared with the truth.
    """
    from training.simulation.distances import simulate_scene  # noqa: PLC0415 - keeps --help quick
    from training.simulation.scenes import Crowd  # noqa: PLC0415

    crowd = Crowd(people, seconds, fps, noise_px, noise_part, noise_time_s=noise_time_s)
    coverage, errors, unsure, pairs = [], [], 0, 0
    for number in tqdm(range(scenes), unit="scene", disable=None):
        _, found = simulate_scene(seed + number, calibration, crowd)  # type: ignore[arg-type]
        if found is None:
            unsure += 1
        elif len(found):
            pairs += len(found)
            coverage.append(found.coverage)
            errors.append(found.median_relative_error)
    result = {
        "scenes": len(coverage),
        "unsure": unsure,
        "pairs": pairs,
        "coverage_90": float(np.mean(coverage)) if coverage else None,
        "coverage_90_range": [float(min(coverage)), float(max(coverage))] if coverage else None,
        "median_relative_error": float(np.median(errors)) if errors else None,
        "worst_median_relative_error": float(max(errors)) if errors else None,
    }
    if as_json or not coverage:
        click.echo(json.dumps(result, indent=2))
        return
    low, high = min(coverage), max(coverage)
    click.echo(
        f"{len(coverage)} scenes, {pairs} distances; {unsure} scenes in which the calibration was not sure\n"
        f"stated 90 % interval covers {100 * np.mean(coverage):.1f} % of the truth (scenes: {100 * low:.1f} to "
        f"{100 * high:.1f} %)\nmedian error {100 * np.median(errors):.1f} % of the distance (median of the scenes; "
        f"worst {100 * max(errors):.1f} %)"
    )

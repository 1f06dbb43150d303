"""What ground plane, distances with their uncertainty, groups and events cost a frame.

    python -m edge_app.bench_distances [--people 50] [--frames 300]

People walk about under a camera whose calibration has an error in five directions, as a self-calibrated one does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from edge_app.calibration.pose import camera_from_pose
from edge_app.config import Config
from edge_app.distances import measure_pairs
from edge_app.events import EventDetector
from edge_app.ground_plane import locate
from edge_app.groups import GroupDetector
from edge_app.records import FloatArray, Tracks

_SIZE = (1280, 720)
_FPS = 10.0
_SEED = 0
# Standard deviation of a tracked foot, pixels, to the side and down.
_FOOT_SD_PX = (3.0, 4.0)
_SPEED_M_S = 1.3


@dataclass(frozen=True)
class StageCost:
    """Milliseconds a frame."""

    median: float
    p90: float


def measure(people: int, frames: int) -> dict[str, StageCost]:
    """Return what each stage costs, and all together, for frames of so many people."""
    camera = camera_from_pose(_SIZE, height_m=5.0, tilt_deg=25.0, roll_deg=1.0, hfov_deg=80.0)
    config = Config()
    threshold_m = config.distance.threshold_m
    groups, events = GroupDetector(config.groups), EventDetector(threshold_m, config.events)
    seconds: dict[str, list[float]] = {name: [] for name in ("ground_plane", "distances", "groups", "events", "all")}
    for number, foot in enumerate(_walk(camera.ground_to_image, people, frames)):
        tracks, time_s = _tracks(foot), number / _FPS
        start = time.perf_counter()
        ground = locate(camera, tracks)
        located = time.perf_counter()
        pairs = measure_pairs(tracks.id, ground, threshold_m)
        measured = time.perf_counter()
        groups.update(time_s, tracks.id, ground, pairs)
        grouped = time.perf_counter()
        events.update(time_s, pairs)
        events.violating_pairs(time_s)
        end = time.perf_counter()
        # Groups are said beside the numbers, and can be switched off.
        parts = (located - start, measured - located, grouped - measured, end - grouped)
        for name, part in zip(seconds, (*parts, end - start - parts[2])):
            seconds[name].append(part)
    settled = {name: np.array(values[len(values) // 10 :]) * 1000 for name, values in seconds.items()}
    return {name: StageCost(float(np.median(ms)), float(np.percentile(ms, 90))) for name, ms in settled.items()}


def _walk(to_image: Callable[[FloatArray], FloatArray], people: int, frames: int) -> Any:
    """Yield (N, 2) feet, pixels, of people who walk to and fro on 20 by 15 metres."""
    generator = np.random.default_rng(_SEED)
    low, high = np.array([-10.0, 4.0]), np.array([10.0, 19.0])
    place = generator.uniform(low, high, (people, 2))
    angle = generator.uniform(0, 2 * np.pi, people)
    way = _SPEED_M_S / _FPS * np.column_stack([np.cos(angle), np.sin(angle)])
    for _ in range(frames):
        place = place + way
        turn = (place < low) | (place > high)
        way[turn] *= -1
        yield to_image(np.clip(place, low, high))


def _tracks(foot: FloatArray) -> Tracks:
    count = len(foot)
    bbox = np.column_stack([foot - np.array([15.0, 90.0]), foot + np.array([15.0, 0.0])]).astype(np.float32)
    covariance = np.tile(np.diag(np.square(_FOOT_SD_PX)), (count, 1, 1))
    seen = np.ones(count, np.bool_)
    return Tracks(np.arange(1, count + 1), bbox, np.ones(count, np.float32), foot, covariance, seen)


@click.command()
@click.option("--people", type=click.IntRange(min=2, max=500), default=50, show_default=True, help="In every frame.")
@click.option("--frames", type=click.IntRange(min=20), default=300, show_default=True, help="To measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(people: int, frames: int, as_json: bool) -> None:
    """Measure what distances cost: milliseconds a frame, median and 90th percentile."""
    costs = measure(people, frames)
    if as_json:
        click.echo(json.dumps({name: vars(cost) for name, cost in costs.items()}, indent=2))
        return
    click.echo(f"{people} people, {people * (people - 1) // 2} pairs, {frames} frames; ms a frame: median (p90)")
    for name, cost in costs.items():
        label = "ground plane, distances, events" if name == "all" else name.replace("_", " ")
        click.echo(f"  {label:<32} {cost.median:.3f} ({cost.p90:.3f})")


if __name__ == "__main__":
    main()

"""``python -m edge_app bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import click

from edge_app.config import load_config

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--config", "config_path", type=_FILE, help="configuration file (YAML)")
@click.option("--model", type=_FILE, help="model file; wins over the configuration")
@click.option("--video", type=_FILE, help="video to play; default: the sample clip")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="interleaved repetitions")
@click.option("--frames", type=click.IntRange(min=50), default=300, show_default=True, help="frames of each run")
@click.option(
    "--simulate-inference-ms",
    "simulate_ms",
    type=click.FloatRange(min=0.1, max=10000),
    help="wait so long in place of each inference, with the processor free, as an Edge TPU leaves it",
)
@click.option("--viewer", is_flag=True, help="with somebody who watches the live picture")
@click.option("--compare", is_flag=True, help="against the loop of a tutorial and OpenCV's HOG people detector, too")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def bench(
    config_path: Optional[Path],
    model: Optional[Path],
    video: Optional[Path],
    rounds: int,
    frames: int,
    simulate_ms: Optional[float],
    viewer: bool,
    compare: bool,
    as_json: bool,
) -> None:
    """Measure each stage, throughput, delay, memory and start-up of the live pipeline."""
    from edge_app.analysis import Interrupted  # noqa: PLC0415 - keeps --help quick
    from edge_app.bench.run import SAMPLE_CLIP, BenchOptions, run_bench  # noqa: PLC0415
    from edge_app.bench.text import format_bench  # noqa: PLC0415

    config = load_config(config_path)
    if model is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": model})})
    options = BenchOptions(config, video or SAMPLE_CLIP, rounds, frames, simulate_ms, viewer, compare)
    try:
        result = run_bench(options)
    except Interrupted as error:
        raise click.Abort from error
    click.echo(json.dumps(result, indent=2) if as_json else format_bench(result))

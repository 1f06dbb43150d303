"""``python -m edge_app bench-viewers``."""

from __future__ import annotations

import json

import click


@click.command("bench-viewers")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="interleaved repetitions")
@click.option("--seconds", type=click.FloatRange(min=1), default=8.0, show_default=True, help="of each measurement")
def bench_viewers(rounds: int, seconds: float) -> None:
    """Measure what ten viewers cost against one, and what stalled ones do to the pipeline; as JSON."""
    from edge_app.web.viewer_bench import run_viewer_bench  # noqa: PLC0415 - keeps --help quick

    click.echo(json.dumps(run_viewer_bench(rounds, seconds), indent=2))

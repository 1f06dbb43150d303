"""``python -m edge_app analyze-many``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import click


@click.command("analyze-many")
@click.argument("videos", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="folder above the results of all videos")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="configuration file (YAML)")
@click.option("--annotate", is_flag=True, help="write annotated.mp4 as well")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="analyse every N-th frame")
@click.option("--allow-truncated", is_flag=True, help="accept videos that end before their containers say")
@click.option("--workers", type=click.IntRange(1, 1024), help="processes on this machine; default: one for each core")
@click.option("--scheduler", metavar="ADDRESS", help="running Dask scheduler, such as tls://host:8786, instead")
@click.option("--json", "as_json", is_flag=True, help="print the counts as JSON")
def analyze_many(
    videos: Path,
    out: Path,
    config_path: Optional[Path],
    annotate: bool,
    every: int,
    allow_truncated: bool,
    workers: Optional[int],
    scheduler: Optional[str],
    as_json: bool,
) -> int:
    """Analyse all VIDEOS, a folder or a text file that lists them, on several processes or machines.

    The results of each lie in a folder with its name. The same command again goes on where it stopped, and tries what
    failed once more. Exit status 1 where a video failed; overview.csv says which and why.
    """
    from edge_app.analysis.analyze import AnalysisOptions  # noqa: PLC0415 - keeps --help quick
    from edge_app.analysis.many import analyze_many as run  # noqa: PLC0415
    from edge_app.analysis.many import find_videos  # noqa: PLC0415
    from edge_app.config import load_config  # noqa: PLC0415

    if workers is not None and scheduler is not None:
        raise click.UsageError("give --workers or --scheduler, not both")
    found = find_videos(videos, out)
    template = AnalysisOptions(videos, out, load_config(config_path), annotate, every, allow_truncated, not as_json)
    try:
        outcomes = run(template, found, workers, scheduler)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on with what is not finished", err=True)
        return 1
    counts = {state: sum(o.state == state for o in outcomes) for state in ("done", "there", "failed")}
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(f"{counts['done']} analysed, {counts['there']} were there already, {counts['failed']} failed")
        for outcome in outcomes:
            if outcome.state == "failed":
                click.echo(f"failed: {outcome.video}: {outcome.reason}", err=True)
        click.echo(f"overview: {out / 'overview.csv'}")
    return 1 if counts["failed"] else 0

"""The command line of the device side."""

from __future__ import annotations

from edge_app.command_line import run_command_line, set_up_libraries

set_up_libraries()  # before numpy and cv2 are imported

import json  # noqa: E402
import logging  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NoReturn, Optional  # noqa: E402

import click  # noqa: E402

from edge_app import __version__  # noqa: E402
from edge_app.analyze_many import analyze_many  # noqa: E402
from edge_app.bench.command import bench  # noqa: E402
from edge_app.calibration.command import calibrate  # noqa: E402
from edge_app.config import Config, config_schema, load_config  # noqa: E402
from edge_app.counted import counted  # noqa: E402
from edge_app.doctor.command import doctor  # noqa: E402
from edge_app.fleet.command import fleet  # noqa: E402
from edge_app.json_logs import JsonFormatter  # noqa: E402
from edge_app.masking import mask_secrets_in_logs  # noqa: E402
from edge_app.model_store.command import model_commands  # noqa: E402
from edge_app.storage.command import storage  # noqa: E402
from edge_app.web.bench_command import bench_viewers  # noqa: E402
from edge_app.web.security.command import password  # noqa: E402

_CONFIG = click.option("--config", "config_path", type=click.Path(path_type=Path), help="configuration file (YAML)")
_MODEL = click.option("--model", type=click.Path(path_type=Path), help="model file; wins over the configuration")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge_app")
@click.option("--verbose", is_flag=True, help="log more")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="json: one object a line")
def cli(verbose: bool, log_format: str) -> None:
    """Finds people in video, measures the distances between them in metres and reports violations."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    mask_secrets_in_logs()
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())


@cli.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="folder for the results")
@_CONFIG
@_MODEL
@click.option("--annotate", is_flag=True, help="write annotated.mp4 as well")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="analyse every N-th frame")
@click.option("--allow-truncated", is_flag=True, help="accept a video that ends before its container says")
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON")
def analyze(
    video: Path,
    out: Path,
    config_path: Optional[Path],
    model: Optional[Path],
    annotate: bool,
    every: int,
    allow_truncated: bool,
    as_json: bool,
) -> int:
    """Analyse a recorded VIDEO: tracks, distances, violation events and a report.

    An interrupted analysis goes on when the same command is given again.
    """
    from edge_app.analysis import AnalysisOptions, Interrupted  # noqa: PLC0415 - keeps --help quick
    from edge_app.analysis import analyze as run  # noqa: PLC0415

    config = _configured(config_path, model)
    if config.cameras and config.calibration is None:
        click.echo(
            "warning: no distances: the calibrations of 'cameras' are for run; name this video's under 'calibration'",
            err=True,
        )
    try:
        summary = run(AnalysisOptions(video, out, config, annotate, every, allow_truncated, not as_json))
    except Interrupted as error:
        click.echo(str(error), err=True)
        return 1
    click.echo(json.dumps(summary, indent=2) if as_json else _sentences(summary, out))
    if summary["camera_moved_s"] > 0:
        click.echo(
            f"warning: for {summary['camera_moved_s']:.1f} of {summary['duration_s']:.1f} s the camera looked "
            "elsewhere than when it was calibrated: no distances are claimed for that time; turn it back or "
            "calibrate it again",
            err=True,
        )
    step_s = summary["duration_s"] / max(1, summary["frames_analysed"] - 1)
    if summary["violations"] is not None and step_s > config.events.max_gap_s:
        click.echo(
            f"warning: frames are {step_s:.1f} s apart, and no event survives more than events.max_gap_s "
            f"({config.events.max_gap_s:g} s) without one: none can be found; give a smaller --every or a larger gap",
            err=True,
        )
    return 0


@cli.command()
@_CONFIG
@_MODEL
@click.option("--source", help="file, folder, /dev/videoN, rtsp://…, http://…, csi:N; wins over the configuration")
@click.option("--host", help="address to listen on; wins over the configuration")
@click.option("--port", type=click.IntRange(0, 65535), help="port to listen on; wins over the configuration")
def run(
    config_path: Optional[Path], model: Optional[Path], source: Optional[str], host: Optional[str], port: Optional[int]
) -> None:
    """Watch a source live and serve the dashboard."""
    from edge_app.live import run_live  # noqa: PLC0415 - keeps --help quick

    config = _configured(config_path, model)
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    config = config.model_copy(update={"dashboard": config.dashboard.model_copy(update=changes)})
    if source is not None:
        config = config.model_copy(
            update={"source": config.source.model_copy(update={"uri": source, "only_cameras": False}), "cameras": {}}
        )
    run_live(config, config_path)


cli.add_command(analyze_many)
cli.add_command(bench)
cli.add_command(bench_viewers)
cli.add_command(calibrate)
cli.add_command(fleet)
cli.add_command(password)
cli.add_command(storage)
cli.add_command(model_commands)
cli.add_command(doctor)


@cli.group()
def config() -> None:
    """Check a configuration file, or print its schema."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Validate a configuration FILE and what it names."""
    from edge_app.config_check import check_references  # noqa: PLC0415 - keeps --help quick

    lines = list(check_references(load_config(file)))
    click.echo("\n".join([*lines, f"{file}: valid"]))


@config.command()
def schema() -> None:
    """Print the JSON schema of the configuration."""
    click.echo(json.dumps(config_schema(), indent=2))


def main() -> NoReturn:
    """Run the command line."""
    run_command_line(cli, "python -m edge_app")


def _configured(path: Optional[Path], model: Optional[Path]) -> Config:
    config = load_config(path)
    if model is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": model})})
    return config


def _sentences(summary: dict[str, Any], out: Path) -> str:
    """Say in a few lines what an analysis found."""
    people, violations, timings = summary["people"], summary["violations"], summary["timings"]
    lines = [
        f"{counted(summary['frames_analysed'], 'frame', 'frames')} ({summary['duration_s']:.1f} s) "
        f"in {timings['elapsed_s']:.1f} s, {timings['frames_per_s']:.0f} frames a second",
        f"{counted(people['seen'], 'person', 'people')} seen, at most {people['at_most_at_once']} at once",
    ]
    if violations is None:
        lines.append("no calibration: no distances claimed")
    else:
        lines.append(
            f"{counted(violations['events'], 'violation event', 'violation events')} under "
            f"{violations['threshold_m']:g} m, {counted(violations['people_involved'], 'person', 'people')} involved, "
            f"{violations['exposure_s']:.1f} s summed over all pairs"
        )
    return "\n".join([*lines, f"report: {out / 'report.html'}"])

"""The command ``python -m training parity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click

from edge_app.errors import UserError
from training.tensorflow_start import start_tensorflow

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("more_models", metavar="[MODEL]...", nargs=-1, type=_FILE)
@click.option("--models", default="", metavar="A,B,...", help="models, the reference first; or name them as arguments")
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    metavar="LABELS[=VIDEO]",
    help="COCO JSON file or folder with labels.json, and the video whose frames it names; may be given more than once",
)
@click.option("--out", type=_FILE, required=True, help="folder for parity.md, parity.json, parity.html and pictures")
@click.option("--block", type=click.IntRange(min=1), default=14, show_default=True, help="pictures per bootstrap block")
@click.option("--rounds", type=click.IntRange(min=1), default=50, show_default=True, help="of the latency measurement")
@click.option(
    "--pictures", type=click.IntRange(min=0), default=4, show_default=True, help="most different ones per set"
)
@click.option(
    "--privacy", type=click.Choice(["pixelate", "blur", "show"]), default="pixelate", show_default=True,
    help="how people are hidden in the pictures",
)  # fmt: skip
def parity(
    more_models: tuple[Path, ...],
    models: str,
    data: tuple[str, ...],
    out: Path,
    block: int,
    rounds: int,
    pictures: int,
    privacy: Any,
) -> None:
    """Hold models (.tflite, .keras, .pb) against the first one on labelled sets."""
    chosen_models = (*(Path(name) for name in models.split(",") if name), *more_models)
    if len(chosen_models) < 2:
        raise click.UsageError("give at least two models; the first is the reference")
    names = [path.stem for path in chosen_models]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two models are named {max(names, key=names.count)}; rename one")
    sets = [_parse(item) for item in data]
    if any(path.suffix.lower() != ".tflite" for path in chosen_models):
        start_tensorflow()
    from training.parity.measure import DataSet, measure_parity  # noqa: PLC0415 - keeps --help quick
    from training.parity.pictures import write_pictures  # noqa: PLC0415
    from training.parity.report import summary_lines, write_report  # noqa: PLC0415

    chosen = [DataSet(*item) for item in sets]
    if len({item.name for item in chosen}) < len(chosen):
        raise UserError("two --data have the same name; rename the folder or the file of one")
    measured = measure_parity(chosen_models, chosen, block=block, rounds=rounds, pictures=pictures)
    written = write_pictures(measured.disagreements, chosen, out / "pictures", privacy) if pictures else []
    write_report(measured, written, out)
    click.echo(summary_lines(measured))
    click.echo(f"\n{out / 'parity.html'}")


def _parse(item: str) -> tuple[str, Path, Optional[Path]]:
    """Return name, labels and video of LABELS[=VIDEO]."""
    labels, _, video = item.partition("=")
    path = Path(labels)
    named = path.parent if path.name == "labels.json" else path
    return named.stem or path.stem, path, Path(video) if video else None

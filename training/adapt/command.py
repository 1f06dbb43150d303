"""The command ``python -m training adapt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import click

from edge_app.errors import UserError
from training.tensorflow_start import start_tensorflow

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--video", type=_FILE, help="the site's own footage")
@click.option("--labels", type=_FILE, help="reviewed labels of that footage (COCO JSON, CVAT XML, ...)")
@click.option("--weights", type=_FILE, required=True, help="float model (.keras) to adapt; on tiles it is the teacher")
@click.option("--config", "config_path", type=_FILE, required=True, help="training configuration with the general sets")
@click.option("--validation", type=_FILE, multiple=True, help="general labelled set on which nothing may be lost")
@click.option("--out", type=_FILE, required=True, help="folder; an unfinished adaptation goes on")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="true frame rate; default: the container's")
@click.option("--first", type=click.IntRange(min=1), default=1, show_default=True, help="first frame of the footage")
@click.option("--last", type=click.IntRange(min=1), help="last frame of the footage; default: its end")
@click.option("--pictures", type=click.IntRange(min=10), default=150, show_default=True, help="how many to train on")
@click.option(
    "--tiles", type=click.IntRange(1, 8), nargs=2, default=(3, 2), show_default=True, metavar="COLUMNS ROWS",
    help="the teacher's grid",
)  # fmt: skip
@click.option(
    "--site-part", type=click.FloatRange(0.1, 0.9), default=0.5, show_default=True, help="of what is trained on"
)
@click.option(
    "--tolerance", type=click.FloatRange(0, 0.2), default=0.01, show_default=True, help="AP50 that may be lost"
)
@click.option("--label-only", is_flag=True, help="stop after labelling, for a review")
def adapt(
    video: Optional[Path],
    labels: Optional[Path],
    weights: Path,
    config_path: Path,
    validation: tuple[Path, ...],
    out: Path,
    fps: Optional[float],
    first: int,
    last: Optional[int],
    pictures: int,
    tiles: tuple[int, int],
    site_part: float,
    tolerance: float,
    label_only: bool,
) -> None:
    """Adapt a model to a site: label its footage, fine-tune, and accept only what loses nothing elsewhere."""
    if (video is None) == (labels is None):
        raise click.UsageError("give either --video (to label it) or --labels (after a review)")
    if not validation and not label_only:
        raise click.UsageError("give at least one --validation, a general set that was not trained on")
    if weights.suffix != ".keras":
        raise click.UsageError(f"--weights {weights} is not a .keras model; 'export --out NAME.keras' makes one")
    from training.train_config import load_train_config  # noqa: PLC0415 - keeps --help quick

    config = load_train_config(config_path)
    start_tensorflow()
    from training.adapt.adapt import Footage, compare, footage_labels, with_site, write_decision  # noqa: PLC0415
    from training.adapt.label_files import reviewed_labels  # noqa: PLC0415
    from training.train import train  # noqa: PLC0415

    footage = None
    if labels is not None:
        site = reviewed_labels(labels, out / "labels")
    else:
        assert video is not None
        footage = Footage(video, fps, first, last, pictures, tiles)
        site = footage_labels(footage, weights, out / "labels")
    count = json.loads(site.read_text(encoding="utf-8"))
    click.echo(f"{site}: {len(count['images'])} pictures, {len(count['annotations'])} boxes")
    if label_only:
        click.echo(f"review {site} or {site.with_name('cvat.xml')}, then go on with --labels")
        return
    made = train(with_site(config, site, weights, site_part), out / "run")
    accepted, rows = compare(weights, made, validation, tolerance, block=1)
    write_decision(out, accepted, rows, footage)
    for row in rows:
        low, high = row["interval"]
        click.echo(
            f"{row['set']}: AP50 {row['ap50_before']:.3f} before, {row['ap50_after']:.3f} after, "
            f"difference {row['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    if not accepted:
        raise UserError(
            f"the adapted model loses more than {tolerance:g} AP50 elsewhere; it stays in {made}, unaccepted"
        )
    final = out / "accepted.keras"
    final.write_bytes(made.read_bytes())
    click.echo(final)

"""``python -m training runtime-matrix``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Optional

import click

_FILE = click.Path(path_type=Path)
_HEADER = (
    "# The released model in every runtime\n\nWritten by `python -m training runtime-matrix --model MODEL --record "
    "FILE`; [models.md](models.md) explains it.\n\n"
)


@click.command("runtime-matrix")
@click.option("--model", type=_FILE, required=True, help="detector for the CPU (.tflite)")
@click.option("--video", type=_FILE, help="video whose frames are used; default: the sample clip")
@click.option("--frames", type=click.IntRange(1), default=20, show_default=True, help="how many, spread evenly")
@click.option(
    "--work", type=_FILE, default=Path("work/runtimes"), show_default=True, help="folder for the environments"
)
@click.option("--record", type=_FILE, help="write the tables into this file, in Markdown")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def runtime_matrix(
    model: Path, video: Optional[Path], frames: int, work: Path, record: Optional[Path], as_json: bool
) -> int:
    """Run a model in every runtime that devices have, each in an environment of its own, and compare the boxes.

    Reference kernels must give the same in all of them, else the command fails (status 1). Fast kernels round
    differently: how far they are apart is measured, and does not count. A runtime that can't be had here is named, and
    does not count either. Takes some minutes.
    """
    from training.bundle.golden_frames import SAMPLE_CLIP  # noqa: PLC0415 - keeps --help quick
    from training.runtimes.environments import RUNTIMES  # noqa: PLC0415
    from training.runtimes.matrix import compare_runtimes, format_results  # noqa: PLC0415

    results = compare_runtimes(model, video or SAMPLE_CLIP, frames, RUNTIMES, work.resolve())
    if record is not None:
        record.write_text(f"{_HEADER}{format_results(model, frames, results)}\n", encoding="utf-8")
    if as_json:
        content = {
            "model": model.name,
            "frames": frames,
            "runtimes": [asdict(r) for r in results],
        }
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo(format_results(model, frames, results))
    ran = [r.sameness for r in results if r.kernels == "reference" and r.sameness is not None]
    return int(not ran or not all(found.same for found in ran))

"""``python -m training prepare``."""

from __future__ import annotations

import json
from pathlib import Path

import click
from tqdm import tqdm

from edge_app.errors import UserError
from training.prepare.checks import CheckedPicture, check_pictures
from training.prepare.readers import read_source
from training.prepare.records import Problems
from training.prepare.split import split_pictures
from training.tensorflow_start import start_tensorflow


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder for the TFRecord files")
@click.option("--validation", type=click.FloatRange(0, 0.5), default=0.15, show_default=True, help="part held out")
@click.option("--seed", type=int, default=0, show_default=True, help="of the choice of scenes")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
def prepare(out: Path, validation: float, seed: int, sources: tuple[Path, ...]) -> None:
    """Check labelled SOURCES, split them by scene or time and write sharded TFRecord files.

    A source is COCO JSON, Pascal VOC, YOLO, MOTChallenge, CVAT XML or an Oxford Town Centre .top file. Each is a scene
    of its own unless it names scenes. Problems are counted and told; nothing is dropped silently.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {out} cannot be written ({error.strerror}); give another --out") from error
    problems = Problems()
    pictures: list[CheckedPicture] = []
    for source in sources:
        found = read_source(source, problems)
        pictures += tqdm(
            check_pictures(found, problems), total=len(found), desc=source.name, unit="picture", disable=None
        )
    if not any(len(picture.boxes) for picture in pictures):
        raise UserError(f"{', '.join(map(str, sources))}: no picture with a person is usable; check paths and labels")
    train, held_out, left_out = split_pictures(pictures, validation, seed)
    if not train:
        raise UserError("nothing is left to train on after the split; give more scenes or a smaller --validation")
    start_tensorflow()
    from training.prepare.tfrecord import write_shards  # noqa: PLC0415 - brings TensorFlow

    write_shards({"train": train, "validation": held_out}, out)
    summary = {
        "train": {"pictures": len(train), "people": sum(len(picture.boxes) for picture in train)},
        "validation": {"pictures": len(held_out), "people": sum(len(picture.boxes) for picture in held_out)},
        "validation_scenes": sorted({picture.scene for picture in held_out}),
        "left_out_at_the_split": left_out,
        "problems": dict(problems.counts),
        "seed": seed,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(summary, indent=2))
    click.echo(str(problems), err=True)

"""``python -m training compose``: a validation set of small people out of a set of large ones."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from edge_app.errors import UserError
from edge_app.records import FloatArray

# As a camera delivers them: larger than a model's input, so that every model shrinks them for itself.
_SIZE = 640
_DESCRIPTION = "scenes composed of the pictures of {name}, seed {seed}"


@click.command("compose")
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder for pictures and labels.json")
@click.option("--pictures", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def compose_set(labels: Path, out: Path, pictures: int, seed: int) -> None:
    """Compose pictures of small people, as surveillance cameras see them, out of the set LABELS (COCO JSON).

    Half are mosaics of 4 or 9 pictures, half are people pasted onto one picture, with the changes of light and
    sharpness that training makes too. Compose only of pictures that no model was trained on.
    """
    import cv2  # noqa: PLC0415 - keeps --help quick

    from training.data.augment import Augmentation, compose  # noqa: PLC0415
    from training.data.batches import drawer  # noqa: PLC0415
    from training.data.pictures import load_examples  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    draw = drawer([(load_examples(labels), 1.0)], rng)
    options = Augmentation(mosaic=(0.0, 0.5, 0.5), scenes=0.5)
    folder = out / "images"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {out} cannot be written ({error.strerror}); give another --out") from error
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in tqdm(range(1, pictures + 1), unit="picture", disable=None):
        picture, people, ignored = compose(draw, _SIZE, options, rng)
        name = f"images/{number:04d}.png"
        if not cv2.imwrite(str(out / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise UserError(f"picture {out / name} cannot be written; free some space or give another --out")
        images.append({"id": number, "file_name": name, "width": _SIZE, "height": _SIZE})
        for is_crowd, boxes in ((0, people), (1, ignored)):
            for row in boxes * _SIZE:
                annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(row, is_crowd)})
    coco = {
        "info": {"description": _DESCRIPTION.format(name=labels.name, seed=seed)},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (out / "labels.json").write_text(json.dumps(coco) + "\n", encoding="utf-8")
    click.echo(f"{out}: {pictures} pictures, {sum(not entry['iscrowd'] for entry in annotations)} people")


def _annotation(box: FloatArray, is_crowd: int) -> dict[str, object]:
    """Return a COCO annotation of a person (or a region to ignore) at ymin, xmin, ymax, xmax, pixels."""
    top, left, bottom, right = (round(float(value), 2) for value in box)
    width, height = round(right - left, 2), round(bottom - top, 2)
    return {"category_id": 1, "iscrowd": is_crowd, "bbox": [left, top, width, height], "area": width * height}

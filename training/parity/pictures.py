"""The pictures on which a model and the reference differ most, side by side, people hidden."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_app.errors import UserError
from edge_app.records import FloatArray, Image
from edge_app.render.privacy import PrivacyMode, hide_people
from training.evaluation.labelled_pictures import load_labelled_pictures
from training.parity.measure import DataSet, Disagreement

# Colour-blind safe (Okabe and Ito): labels white, the reference blue, the model orange; BGR.
_TRUTH, _REFERENCE, _MODEL = (255, 255, 255), (178, 114, 0), (0, 159, 230)
_ROWS = 360


def write_pictures(
    disagreements: Sequence[Disagreement], data: Sequence[DataSet], folder: Path, privacy: PrivacyMode
) -> list[tuple[Path, Disagreement]]:
    """Write one picture for each disagreement: left what the reference finds, right what the model finds.

    Raises:
        UserError: the folder cannot be written.
    """
    written: list[tuple[Path, Disagreement]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for item in data:
        wanted = [one for one in disagreements if one.data == item.name]
        if not wanted:
            continue
        for record, picture in load_labelled_pictures(item.labels, item.video).pictures():
            for one in wanted:
                if one.image_id == record["id"]:
                    path = folder / f"{one.data}_{one.model}_{one.image_id}.jpg"
                    if not cv2.imwrite(str(path), _side_by_side(picture, one, privacy)):
                        raise UserError(f"picture {path} cannot be written; give another --out")
                    written.append((path, one))
    order = {id(one): place for place, one in enumerate(disagreements)}
    return sorted(written, key=lambda item: order[id(item[1])])


def _side_by_side(picture: Image, one: Disagreement, privacy: PrivacyMode) -> Image:
    boxes = np.concatenate([one.truth, one.reference, one.other, one.maybe]).astype(np.float32)
    hidden = hide_people(picture, boxes, privacy)
    halves = [_drawn(hidden, one.truth, found, colour) for found, colour in
              ((one.reference, _REFERENCE), (one.other, _MODEL))]  # fmt: skip
    return np.hstack([halves[0], np.full((_ROWS, 6, 3), 255, np.uint8), halves[1]])


def _drawn(picture: Image, truth: FloatArray, found: FloatArray, colour: tuple[int, int, int]) -> Image:
    scale = _ROWS / picture.shape[0]
    canvas = cv2.resize(picture, (round(picture.shape[1] * scale), _ROWS), interpolation=cv2.INTER_AREA)
    for boxes, ink, thickness in ((truth, _TRUTH, 1), (found, colour, 2)):
        for left, top, right, bottom in np.round(boxes * scale).astype(int).tolist():
            cv2.rectangle(canvas, (left, top), (right, bottom), ink, thickness, cv2.LINE_AA)
    return canvas.astype(np.uint8)

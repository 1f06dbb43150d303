"""Sharded TFRecord files with the feature names of the TF Object Detection API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_app.errors import UserError
from training.data.pictures import Example
from training.prepare.checks import CheckedPicture

_LABEL = 1
_NAME = b"person"


def write_shards(parts: Mapping[str, Sequence[CheckedPicture]], folder: Path, per_shard: int = 500) -> list[Path]:
    """Write pictures as ``NAME-00000-of-00003.tfrecord`` and so on; returns the files.

    Files of an earlier call under these names are removed once all new ones are written, so that sets never mix.

    Args:
        parts: pictures by the name of their part; an empty part has no file.
        folder: an existing folder.
        per_shard: pictures in a file at most.
    """
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    written = [path for name, pictures in parts.items() for path in _write(pictures, unfinished, name, per_shard)]
    for name in parts:
        for old in folder.glob(f"{name}-[0-9]*-of-[0-9]*.tfrecord"):
            old.unlink()
    paths = [path.replace(folder / path.name) for path in written]
    unfinished.rmdir()
    return paths


def read_shards(paths: Sequence[Path]) -> list[Example]:
    """Read examples back for training.

    Raises:
        UserError: a file is missing, damaged, of another label map, or there is no example at all.
    """
    if not paths:
        raise UserError("there is no TFRecord file to train on; make some with 'prepare'")
    examples = [example for path in paths for example in _read(path)]
    if not any(len(example.boxes) for example in examples):
        raise UserError(f"{paths[0]} and its {len(paths) - 1} sisters hold no person; prepare labelled pictures")
    return examples


def _write(pictures: Sequence[CheckedPicture], folder: Path, name: str, per_shard: int) -> list[Path]:
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    shards = -(-len(pictures) // per_shard)
    paths = [folder / f"{name}-{index:05d}-of-{shards:05d}.tfrecord" for index in range(shards)]
    for index, path in enumerate(paths):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for picture in pictures[index::shards]:
                writer.write(_example(picture).SerializeToString())
    return paths


def _read(path: Path) -> Iterator[Example]:
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    if not path.is_file():
        raise UserError(f"TFRecord {path} does not exist; make it with 'prepare'")
    number = 0
    try:
        for number, raw in enumerate(tf.data.TFRecordDataset(str(path)), start=1):
            example = tf.train.Example.FromString(raw.numpy())
            yield _stored(example.features.feature, f"{path.name} record {number}")
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(f"TFRecord {path} is damaged after record {number}; make it again with 'prepare'") from error


def _stored(feature: Any, where: str) -> Example:
    encoded = feature["image/encoded"].bytes_list.value
    if not encoded or cv2.imdecode(np.frombuffer(encoded[0], np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
        raise UserError(f"{where} holds no readable picture; make the file again with 'prepare'")
    labels = list(feature["image/object/class/label"].int64_list.value)
    if set(labels) - {_LABEL}:
        raise UserError(
            f"{where} has the label {max(labels)}, but the label map has only {_LABEL} (person); prepare people only"
        )
    columns = [feature[f"image/object/bbox/{side}"].float_list.value for side in ("ymin", "xmin", "ymax", "xmax")]
    if len({len(labels), *(len(column) for column in columns)}) != 1:
        raise UserError(f"{where} has boxes of unequal parts; make the file again with 'prepare'")
    boxes = np.array(columns, np.float64).T.reshape(-1, 4)
    crowd = np.array(feature["image/object/is_crowd"].int64_list.value or [0] * len(labels), bool)
    rows = feature["image/height"].int64_list.value
    return Example(encoded[0], boxes[~crowd], boxes[crowd], int(rows[0]) if rows else 0)


def _example(picture: CheckedPicture) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    rows = np.vstack([picture.boxes, picture.ignored])
    scale = np.array([picture.width, picture.height])
    low, high = rows[:, :2] / scale, (rows[:, :2] + rows[:, 2:]) / scale

    def floats(values: Any) -> Any:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def integers(values: Any) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def texts(values: Any) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    kind = b"png" if picture.encoded[:4] == b"\x89PNG" else b"jpeg"
    features = {
        "image/encoded": texts([picture.encoded]),
        "image/format": texts([kind]),
        "image/filename": texts([picture.name.encode()]),
        "image/source_id": texts([f"{picture.scene}/{picture.name}".encode()]),
        "image/height": integers([picture.height]),
        "image/width": integers([picture.width]),
        "image/object/bbox/xmin": floats(low[:, 0]),
        "image/object/bbox/xmax": floats(high[:, 0]),
        "image/object/bbox/ymin": floats(low[:, 1]),
        "image/object/bbox/ymax": floats(high[:, 1]),
        "image/object/class/label": integers([_LABEL] * len(rows)),
        "image/object/class/text": texts([_NAME] * len(rows)),
        "image/object/is_crowd": integers([0] * len(picture.boxes) + [1] * len(picture.ignored)),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))

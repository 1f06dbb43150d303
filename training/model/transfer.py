"""Takes the weights of one detector over into one with other anchors, other input size or fewer classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

import keras
import numpy as np

from edge_app.box_decoding import SCALES
from edge_app.errors import UserError
from edge_app.records import FloatArray
from training.model.anchors import AnchorShape, MapShapes
from training.model.ssdlite import classes_of, feature_grid, finest_stride_of, shapes_of

_HEAD = re.compile(r"BoxPredictor_(\d+)")
_LAST_OF_HEAD = re.compile(r"BoxPredictor_\d+\.(BoxEncoding|Class)Predictor\.conv")
# Logit of the background, and of no person, in a head that has learned nothing yet.
_FIRST_LOGIT = 3.0


def transfer_weights(source: keras.Model, target: keras.Model, columns: Sequence[int] = (0, 1)) -> set[str]:
    """Set the weights of ``target`` so that it detects what ``source`` detects.

    Every new anchor takes over the head of the most similar old anchor of its map. Its box row is scaled and shifted
    such that it goes on to predict the very same box: encodings are linear in the anchor's size and in the logarithm
    of it. A map that ``source`` does not have keeps its random head, which starts out seeing nobody.

    Args:
        source: any detector of ``build_ssdlite``.
        target: another one of the same width; its classes are those in ``columns``.
        columns: class columns of ``source`` that ``target`` keeps, the background (0) first.

    Returns:
        Names of the layers that ``source`` does not have.

    Raises:
        UserError: the networks differ in more than anchors, feature maps, size and classes.
    """
    homes = _corresponding_maps(source, target)
    known = {layer.name for layer in source.layers}
    new_layers: set[str] = set()
    for layer in target.layers:
        name = _name_in_source(layer.name, homes)
        if name is None or name not in known:
            new_layers.add(layer.name)
        elif not _LAST_OF_HEAD.fullmatch(layer.name):
            _copy(source, layer, name)
    for index, home in enumerate(homes):
        if home is None:
            _see_nobody(target, index)
        else:
            _transfer_head(source, target, home, index, columns)
    return new_layers


def _corresponding_maps(source: keras.Model, target: keras.Model) -> list[Optional[int]]:
    """Return for each feature map of ``target`` the index of the same one in ``source``."""
    shift = {8: 0, 16: 1}
    offset = shift[finest_stride_of(target)] - shift[finest_stride_of(source)]
    count = len(feature_grid(source))
    return [index + offset if 0 <= index + offset < count else None for index in range(len(feature_grid(target)))]


def _name_in_source(name: str, homes: Sequence[Optional[int]]) -> Optional[str]:
    found = _HEAD.match(name)
    if found is None:
        return name
    home = homes[int(found.group(1))]
    return None if home is None else f"BoxPredictor_{home}{name[found.end() :]}"


def _transfer_head(source: keras.Model, target: keras.Model, home: int, index: int, columns: Sequence[int]) -> None:
    old, new = shapes_of(source)[home], shapes_of(target)[index]
    nearest = [_most_similar(shape, old) for shape in new]
    kernel, bias = source.get_layer(f"BoxPredictor_{home}.BoxEncodingPredictor.conv").get_weights()
    scale, shift = _box_rows(old, new, nearest, feature_grid(target)[index])
    rows = kernel.reshape(kernel.shape[2], len(old), 4)[:, nearest] * scale
    values = bias.reshape(len(old), 4)[nearest] * scale + shift
    box = target.get_layer(f"BoxPredictor_{index}.BoxEncodingPredictor.conv")
    box.set_weights([rows.reshape(1, 1, kernel.shape[2], -1), values.reshape(-1)])
    kernel, bias = source.get_layer(f"BoxPredictor_{home}.ClassPredictor.conv").get_weights()
    picked = kernel.reshape(kernel.shape[2], len(old), -1)[:, nearest][:, :, list(columns)]
    values = bias.reshape(len(old), -1)[nearest][:, list(columns)]
    classes = target.get_layer(f"BoxPredictor_{index}.ClassPredictor.conv")
    classes.set_weights([picked.reshape(1, 1, kernel.shape[2], -1), values.reshape(-1)])


def _see_nobody(target: keras.Model, index: int) -> None:
    """Let a new head start out sure of the background; else its thousands of anchors drown all others at first."""
    layer = target.get_layer(f"BoxPredictor_{index}.ClassPredictor.conv")
    kernel, bias = layer.get_weights()
    columns = classes_of(target) + 1
    bias.reshape(-1, columns)[:] = -_FIRST_LOGIT
    bias.reshape(-1, columns)[:, 0] = _FIRST_LOGIT
    layer.set_weights([0.1 * kernel, bias])


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Set the weights of ``target`` to those of the same network ``source``, layer by layer.

    By name: Keras orders layers by depth, so that one more layer anywhere changes the order of all weights.

    Raises:
        UserError: a layer has other shapes.
    """
    for layer in target.layers:
        _copy(source, layer, layer.name)


def _copy(source: keras.Model, layer: keras.layers.Layer, name: str) -> None:
    wanted = layer.get_weights()
    if not wanted:
        return
    given = source.get_layer(name).get_weights()
    shapes = [tuple(array.shape) for array in given], [tuple(array.shape) for array in wanted]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"layer {layer.name} of the checkpoint has weights {shapes[0]}, not {shapes[1]}; give one of the same width"
        )
    layer.set_weights(given)


def _most_similar(shape: AnchorShape, old: MapShapes) -> int:
    """Return the index of the old anchor with the largest IoU of sizes; of several of one size the nearest."""

    def similarity(index: int) -> tuple[float, float]:
        other = old[index]
        shared = min(shape.height, other.height) * min(shape.width, other.width)
        iou = shared / (shape.height * shape.width + other.height * other.width - shared)
        return round(iou, 9), -float(np.hypot(shape.offset_y - other.offset_y, shape.offset_x - other.offset_x))

    return max(range(len(old)), key=similarity)


def _box_rows(
    old: MapShapes, new: MapShapes, nearest: Sequence[int], cells: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Return (anchors, 4) factors and summands that turn an old anchor's encoding into the new one's."""
    before = np.array([[old[index].height, old[index].width] for index in nearest])
    after = np.array([[shape.height, shape.width] for shape in new])
    moved = np.array(
        [
            [shape.offset_y - old[index].offset_y, shape.offset_x - old[index].offset_x]
            for shape, index in zip(new, nearest)
        ]
    ) / np.array(cells)
    scale = np.hstack([before / after, np.ones_like(after)])
    shift = np.hstack([-moved / after, np.log(before / after)]) * SCALES
    return scale.astype(np.float32), shift.astype(np.float32)

"""Takes the weights of one detector over into one with other anchors, other input size or fewer classes."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from edge_app.box_decoding import SCALES
from edge_app.errors import UserError
from edge_app.records import FloatArray
from training.model.anchors import AnchorShape, MapShapes
from training.model.ssdlite import feature_grid, shapes_of


def transfer_weights(source: keras.Model, target: keras.Model, columns: Sequence[int] = (0, 1)) -> None:
    """Set the weights of ``target`` so that it detects what ``source`` detects.

    Every new anchor takes over the head of the most similar old anchor of its map. Its box row is scaled and shifted
    such that it goes on to predict the very same box: encodings are linear in the anchor's size and in the logarithm
    of it.

    Args:
        source: any detector of ``build_ssdlite``.
        target: another one of the same width; its classes are those in ``columns``.
        columns: class columns of ``source`` that ``target`` keeps, the background (0) first.

    Raises:
        UserError: the networks differ in more than anchors, size and classes.
    """
    grid = feature_grid(target)
    old_shapes, new_shapes = shapes_of(source), shapes_of(target)
    if len(old_shapes) != len(new_shapes):
        raise UserError(
            f"the checkpoint has {len(old_shapes)} feature maps, not {len(new_shapes)}; give one of the same network"
        )
    heads = {f"BoxPredictor_{index}.{kind}.conv" for index in range(len(grid)) for kind in _KINDS}
    for layer in target.layers:
        if layer.name not in heads:
            _copy(source, layer)
    for index, (cells, old, new) in enumerate(zip(grid, old_shapes, new_shapes)):
        nearest = [_most_similar(shape, old) for shape in new]
        box = f"BoxPredictor_{index}.BoxEncodingPredictor.conv"
        kernel, bias = source.get_layer(box).get_weights()
        scale, shift = _box_rows(old, new, nearest, cells)
        rows = kernel.reshape(kernel.shape[2], len(old), 4)[:, nearest] * scale
        values = bias.reshape(len(old), 4)[nearest] * scale + shift
        target.get_layer(box).set_weights([rows.reshape(1, 1, kernel.shape[2], -1), values.reshape(-1)])
        name = f"BoxPredictor_{index}.ClassPredictor.conv"
        kernel, bias = source.get_layer(name).get_weights()
        picked = kernel.reshape(kernel.shape[2], len(old), -1)[:, nearest][:, :, list(columns)]
        values = bias.reshape(len(old), -1)[nearest][:, list(columns)]
        target.get_layer(name).set_weights([picked.reshape(1, 1, kernel.shape[2], -1), values.reshape(-1)])


_KINDS = ("BoxEncodingPredictor", "ClassPredictor")


def _copy(source: keras.Model, layer: keras.layers.Layer) -> None:
    wanted = layer.get_weights()
    if not wanted:
        return
    given = source.get_layer(layer.name).get_weights()
    shapes = [tuple(array.shape) for array in given], [tuple(array.shape) for array in wanted]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"layer {layer.name} of the checkpoint has weights {shapes[0]}, not {shapes[1]}; give one of the same width"
        )
    layer.set_weights(given)


def _most_similar(shape: AnchorShape, old: MapShapes) -> int:
    """Return the index of the old anchor with the largest IoU of sizes."""
    overlaps = []
    for other in old:
        shared = min(shape.height, other.height) * min(shape.width, other.width)
        overlaps.append(shared / (shape.height * shape.width + other.height * other.width - shared))
    return int(np.argmax(overlaps))


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

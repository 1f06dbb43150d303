"""Leaves anchors out of a trained detector: fewer multiply-adds in the heads, and a shorter post-process."""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import numpy as np

from edge_app.errors import UserError
from training.model.ssdlite import alpha_of, build_ssdlite, classes_of, finest_stride_of, shapes_of
from training.quantization.blocks import QuantizedBlocks, is_quantized, precision_of

_LAST_OF_HEAD = re.compile(r"BoxPredictor_(\d+)\.(?:BoxEncoding|Class)Predictor\.conv")


def prune_anchors(model: keras.Model, without: Mapping[int, set[int]]) -> keras.Model:
    """Return a copy without some anchors of the cells; all others go on to predict what they did.

    Args:
        model: of ``build_ssdlite``, float or quantised.
        without: for each feature map, finest first, the anchors of its cells to leave out, by their index.

    Raises:
        UserError: there is no such anchor, or a map would have none left.
    """
    shapes = shapes_of(model)
    for index, dropped in without.items():
        if not 0 <= index < len(shapes) or not dropped <= set(range(len(shapes[index]))):
            counts = ", ".join(str(len(cell)) for cell in shapes)
            raise UserError(f"the model has no anchors {sorted(dropped)} on map {index}; its maps have {counts} each")
        if len(dropped) == len(shapes[index]):
            raise UserError(f"map {index} would have no anchor left; keep at least one")
    kept = [
        [place for place in range(len(cell)) if place not in without.get(index, set())]
        for index, cell in enumerate(shapes)
    ]
    batch, height, width, _ = model.inputs[0].shape
    pruned = build_ssdlite(
        height=height,
        width=width,
        classes=classes_of(model),
        alpha=alpha_of(model),
        finest_stride=finest_stride_of(model),
        anchors=tuple(tuple(cell[place] for place in places) for cell, places in zip(shapes, kept)),
        batch_size=batch,
        blocks=QuantizedBlocks(precision_of(model)) if is_quantized(model) else None,
    )
    for layer in pruned.layers:
        weights = model.get_layer(layer.name).get_weights()
        head = _LAST_OF_HEAD.fullmatch(layer.name)
        if head is not None:
            index = int(head.group(1))
            weights = [_rows(array, len(shapes[index]), kept[index]) for array in weights]
        layer.set_weights(weights)
    return pruned


def _rows(array: np.ndarray, anchors: int, kept: list[int]) -> np.ndarray:
    """Return the output channels of the anchors that are kept; scalars, such as switches, stay."""
    if array.ndim == 0:
        return array
    by_anchor = array.reshape(*array.shape[:-1], anchors, -1)[..., kept, :]
    return by_anchor.reshape(*array.shape[:-1], -1)

"""SSDLite MobileNetV2: the detector as one functional Keras model, without post-process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import keras

from edge_app.records import FloatArray
from training.model.anchors import AnchorGenerator, MapShapes, generate_anchors
from training.model.backbone import FINE_SCOPE, SCOPE, WIDEST_BLOCK, feature_maps
from training.model.heads import heads
from training.model.layers import Blocks, FloatBlocks


def build_ssdlite(
    *,
    height: int = 300,
    width: int = 300,
    classes: int = 1,
    alpha: float = 1.0,
    finest_stride: int = 16,
    anchors: Optional[Sequence[MapShapes]] = None,
    batch_size: Optional[int] = None,
    blocks: Optional[Blocks] = None,
) -> keras.Model:
    """Build the network.

    Args:
        height, width: of the input, pixels.
        classes: without the background.
        alpha: width multiplier of the backbone.
        finest_stride: 16 or 8, pixels between the cells of the finest feature map; see ``feature_maps``.
        anchors: shapes of a cell of each map, finest first; None takes the pretrained model's.
        batch_size: 1 for export (a free batch leaves dynamic shapes that no accelerator takes), None for training.
        blocks: what to build it of; None for float layers with batch normalisation.

    Returns:
        A model from (batch, height, width, 3) float ``(pixel - 127.5) / 127.5`` to a dictionary of ``box_encodings``
        (batch, anchors, 4) and ``class_logits`` (batch, anchors, 1 + classes), column 0 the background.
    """
    image = keras.Input((height, width, 3), batch_size=batch_size, name="image")
    blocks = blocks or FloatBlocks()
    features = feature_maps(image, blocks, alpha, finest_stride)
    shapes = anchors if anchors is not None else AnchorGenerator().shapes(len(features))
    boxes, logits = heads(features, shapes, 1 + classes, blocks)
    return keras.Model(image, {"box_encodings": boxes, "class_logits": logits}, name="ssdlite_mobilenet_v2")


def rebuild(
    model: keras.Model,
    *,
    batch_size: Optional[int] = None,
    blocks: Optional[Blocks] = None,
    side: Optional[int] = None,
) -> keras.Model:
    """Build the network of ``model`` once more, with new weights: for another batch, of other blocks, or for pictures
    of ``side`` x ``side`` pixels."""
    _, height, width, _ = model.inputs[0].shape
    height, width = side or height, side or width
    return build_ssdlite(
        height=height,
        width=width,
        classes=classes_of(model),
        alpha=alpha_of(model),
        finest_stride=finest_stride_of(model),
        anchors=shapes_of(model),
        batch_size=batch_size,
        blocks=blocks,
    )


def anchors_of(model: keras.Model) -> FloatArray:
    """Return the (anchors, 4) anchors of a model, in the order of its outputs: centre y, x, height, width."""
    return generate_anchors(shapes_of(model), feature_grid(model))


def shapes_of(model: keras.Model) -> tuple[MapShapes, ...]:
    """Return the anchors of a cell of each feature map, finest first."""
    return tuple(
        model.get_layer(f"BoxPredictor_{index}.BoxEncodingPredictor.reshape").shapes
        for index in range(len(feature_grid(model)))
    )


def feature_grid(model: keras.Model) -> list[tuple[int, int]]:
    """Return (rows, columns) of each feature map that the heads look at, finest first."""
    grid: list[tuple[int, int]] = []
    names = {layer.name for layer in model.layers}
    while f"BoxPredictor_{len(grid)}.BoxEncodingPredictor.conv" in names:
        layer: Any = model.get_layer(f"BoxPredictor_{len(grid)}.BoxEncodingPredictor.conv")
        grid.append((int(layer.output.shape[1]), int(layer.output.shape[2])))
    return grid


def classes_of(model: keras.Model) -> int:
    """Return the number of classes without the background."""
    cell = len(shapes_of(model)[0])
    return int(model.get_layer("BoxPredictor_0.ClassPredictor.conv").output.shape[-1]) // cell - 1


def alpha_of(model: keras.Model) -> float:
    """Return the width multiplier of the backbone, from the channels of its last block."""
    channels = int(model.get_layer(f"{SCOPE}.expanded_conv_16.project.conv").output.shape[-1])
    return channels / WIDEST_BLOCK


def finest_stride_of(model: keras.Model) -> int:
    """Return the pixels between the cells of the finest feature map: 8 or 16."""
    return 8 if any(layer.name.startswith(FINE_SCOPE) for layer in model.layers) else 16

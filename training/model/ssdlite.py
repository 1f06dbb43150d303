"""SSDLite MobileNetV2: the detector as one functional Keras model, without post-process."""

from __future__ import annotations

from typing import Any, Optional

import keras

from edge_app.records import FloatArray
from training.model.anchors import AnchorGenerator
from training.model.backbone import feature_maps
from training.model.heads import heads


def build_ssdlite(
    *,
    height: int = 300,
    width: int = 300,
    classes: int = 1,
    alpha: float = 1.0,
    anchors: Optional[AnchorGenerator] = None,
    batch_size: Optional[int] = None,
) -> keras.Model:
    """Build the network.

    Args:
        height, width: of the input, pixels.
        classes: without the background.
        alpha: width multiplier of the backbone.
        anchors: shapes per cell; None takes the pretrained model's.
        batch_size: 1 for export (a free batch leaves dynamic shapes that no accelerator takes), None for training.

    Returns:
        A model from (batch, height, width, 3) float ``(pixel - 127.5) / 127.5`` to a dictionary of ``box_encodings``
        (batch, anchors, 4) and ``class_logits`` (batch, anchors, 1 + classes), column 0 the background.
    """
    generator = anchors or AnchorGenerator()
    image = keras.Input((height, width, 3), batch_size=batch_size, name="image")
    features = feature_maps(image, alpha)
    boxes, logits = heads(features, generator.per_cell(len(features)), 1 + classes)
    return keras.Model(image, {"box_encodings": boxes, "class_logits": logits}, name="ssdlite_mobilenet_v2")


def anchors_of(model: keras.Model, generator: Optional[AnchorGenerator] = None) -> FloatArray:
    """Return the (anchors, 4) anchors of a model, in the order of its outputs: centre y, x, height, width."""
    return (generator or AnchorGenerator()).generate(feature_grid(model))


def feature_grid(model: keras.Model) -> list[tuple[int, int]]:
    """Return (rows, columns) of each feature map that the heads look at, finest first."""
    grid: list[tuple[int, int]] = []
    names = {layer.name for layer in model.layers}
    while f"BoxPredictor_{len(grid)}.BoxEncodingPredictor.conv" in names:
        layer: Any = model.get_layer(f"BoxPredictor_{len(grid)}.BoxEncodingPredictor.conv")
        grid.append((int(layer.output.shape[1]), int(layer.output.shape[2])))
    return grid

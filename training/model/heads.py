"""SSDLite heads: for each feature map a separable convolution for boxes and one for classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from training.model.layers import depthwise_bn


def heads(features: Sequence[Any], anchors_per_cell: Sequence[int], columns: int) -> tuple[Any, Any]:
    """Predict from every cell of every feature map.

    Args:
        features: feature maps, finest first.
        anchors_per_cell: anchors of a cell of each map.
        columns: class columns, background included.

    Returns:
        Box encodings (batch, anchors, 4) and class logits (batch, anchors, columns).
    """
    boxes, classes = [], []
    for index, (feature, count) in enumerate(zip(features, anchors_per_cell)):
        scope = f"BoxPredictor_{index}"
        boxes.append(_head(feature, f"{scope}.BoxEncodingPredictor", count, 4))
        classes.append(_head(feature, f"{scope}.ClassPredictor", count, columns))
    return (
        keras.layers.Concatenate(axis=1, name="box_encodings")(boxes),
        keras.layers.Concatenate(axis=1, name="class_logits")(classes),
    )


def _head(feature: Any, scope: str, anchors: int, width: int) -> Any:
    x = depthwise_bn(feature, f"{scope}_depthwise")
    x = keras.layers.Conv2D(anchors * width, 1, name=f"{scope}.conv")(x)
    cells = feature.shape[1] * feature.shape[2]
    return keras.layers.Reshape((cells * anchors, width), name=f"{scope}.reshape")(x)

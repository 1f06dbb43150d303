"""SSDLite heads: for each feature map a separable convolution for boxes and one for classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from training.model.anchors import AnchorShape, MapShapes
from training.model.layers import Blocks


@keras.saving.register_keras_serializable("training")
class AnchorRows(keras.layers.Reshape):
    """Brings a head's map to one row per anchor, and knows the anchors, so that a saved model has them with it."""

    def __init__(self, target_shape: Any, anchors: Sequence[Sequence[float]], **options: Any) -> None:
        """Args:
        target_shape: (anchors, values...).
        anchors: (height, width, offset y, offset x) of each anchor of a cell; see ``AnchorShape``.
        """
        super().__init__(target_shape, **options)
        self._anchors = [[float(value) for value in anchor] for anchor in anchors]

    @property
    def shapes(self) -> MapShapes:
        """Anchors of a cell."""
        return tuple(AnchorShape(*anchor) for anchor in self._anchors)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "anchors": self._anchors}


def heads(features: Sequence[Any], shapes: Sequence[MapShapes], columns: int, blocks: Blocks) -> tuple[Any, Any]:
    """Predict from every cell of every feature map.

    Args:
        features: feature maps, finest first.
        shapes: anchors of a cell of each map.
        columns: class columns, background included.
        blocks: what to build them of.

    Returns:
        Box encodings (batch, anchors, 4) and class logits (batch, anchors, columns).
    """
    # The OD API's layout: box encodings keep an axis for the class they belong to until the very end.
    boxes, classes = [], []
    for index, (feature, cell) in enumerate(zip(features, shapes)):
        scope = f"BoxPredictor_{index}"
        boxes.append(_head(feature, f"{scope}.BoxEncodingPredictor", cell, (1, 4), blocks))
        classes.append(_head(feature, f"{scope}.ClassPredictor", cell, (columns,), blocks))
    joined = blocks.concatenate(boxes, "box_encodings")
    return (
        keras.layers.Reshape((joined.shape[1], 4), name="box_encodings.squeeze")(joined),
        blocks.concatenate(classes, "class_logits"),
    )


def _head(feature: Any, scope: str, cell: MapShapes, values: tuple[int, ...], blocks: Blocks) -> Any:
    x = blocks.depthwise(feature, f"{scope}_depthwise")
    x = blocks.predictor(x, scope, len(cell) * math.prod(values))
    cells = feature.shape[1] * feature.shape[2]
    anchors = [(shape.height, shape.width, shape.offset_y, shape.offset_x) for shape in cell]
    return AnchorRows((cells * len(cell), *values), anchors, name=f"{scope}.reshape")(x)

"""The building blocks of the network: convolutions with batch normalisation and ReLU6, sums and concatenations.

Layers carry the scope that the TF Object Detection API gives their weights, with dots for slashes, so that a layer's
name is the path of its weights in a checkpoint or a frozen graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras

# Epsilon of every batch normalisation in the TF Object Detection API's MobileNetV2 (read from the frozen graph).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.9997


class Blocks(Protocol):
    """What the network is built of; float or quantised."""

    def image(self, x: Any) -> Any:
        """Take in the picture, (batch, h, w, 3)."""
        ...

    def conv(
        self, x: Any, scope: str, filters: int, *, kernel: int = 1, stride: int = 1, activation: bool = True
    ) -> Any:
        """Apply a convolution without bias, batch normalisation and, if asked for, ReLU6.

        Args:
            x: (batch, h, w, c).
            scope: name of the weights, with dots.
            filters: output channels.
            kernel: side of the square kernel.
            stride: step.
            activation: end with ReLU6; False for linear bottlenecks.
        """
        ...

    def depthwise(self, x: Any, scope: str, *, stride: int = 1) -> Any:
        """Apply a 3x3 depthwise convolution without bias, batch normalisation and ReLU6 to (batch, h, w, c)."""
        ...

    def predictor(self, x: Any, scope: str, filters: int) -> Any:
        """Apply a 1x1 convolution with bias, the last of a head."""
        ...

    def add(self, one: Any, other: Any, name: str) -> Any:
        """Return the sum of two maps of one shape."""
        ...

    def concatenate(self, parts: Sequence[Any], name: str) -> Any:
        """Join (batch, rows, values) along the rows."""
        ...


class FloatBlocks:
    """Blocks of Keras' own layers; see ``Blocks``."""

    def image(self, x: Any) -> Any:
        """Return the picture as it is."""
        return x

    def conv(
        self, x: Any, scope: str, filters: int, *, kernel: int = 1, stride: int = 1, activation: bool = True
    ) -> Any:
        """Apply convolution, batch normalisation and ReLU6."""
        x = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{scope}.conv")(
            x
        )
        return _normalise(x, scope, activation)

    def depthwise(self, x: Any, scope: str, *, stride: int = 1) -> Any:
        """Apply depthwise convolution, batch normalisation and ReLU6."""
        x = keras.layers.DepthwiseConv2D(
            3, strides=stride, padding="same", use_bias=False, name=f"{scope}.depthwise_conv"
        )(x)
        return _normalise(x, scope, True)

    def predictor(self, x: Any, scope: str, filters: int) -> Any:
        """Apply the last convolution of a head."""
        return keras.layers.Conv2D(filters, 1, name=f"{scope}.conv")(x)

    def add(self, one: Any, other: Any, name: str) -> Any:
        """Add."""
        return keras.layers.Add(name=name)([one, other])

    def concatenate(self, parts: Sequence[Any], name: str) -> Any:
        """Join."""
        return keras.layers.Concatenate(axis=1, name=name)(list(parts))


def _normalise(x: Any, scope: str, activation: bool) -> Any:
    x = keras.layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM, name=f"{scope}.batch_norm"
    )(x)
    return keras.layers.ReLU(6.0, name=f"{scope}.relu6")(x) if activation else x

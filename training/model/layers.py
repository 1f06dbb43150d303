"""The one building block of the network: convolution, batch normalisation, ReLU6.

Layers carry the scope that the TF Object Detection API gives their weights, with dots for slashes, so that a layer's
name is the path of its weights in a checkpoint or a frozen graph.
"""

from __future__ import annotations

from typing import Any

import keras

# Epsilon of every batch normalisation in the TF Object Detection API's MobileNetV2 (read from the frozen graph).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.9997


def conv_bn(x: Any, scope: str, filters: int, *, kernel: int = 1, stride: int = 1, activation: bool = True) -> Any:
    """Apply a convolution without bias, batch normalisation and, if asked for, ReLU6.

    Args:
        x: (batch, h, w, c).
        scope: name of the weights, with dots.
        filters: output channels.
        kernel: side of the square kernel.
        stride: step.
        activation: end with ReLU6; False for linear bottlenecks.
    """
    x = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{scope}.conv")(x)
    return _normalise(x, scope, activation)


def depthwise_bn(x: Any, scope: str, *, stride: int = 1) -> Any:
    """Apply a 3x3 depthwise convolution without bias, batch normalisation and ReLU6 to (batch, h, w, c)."""
    x = keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{scope}.depthwise_conv")(
        x
    )
    return _normalise(x, scope, True)


def _normalise(x: Any, scope: str, activation: bool) -> Any:
    x = keras.layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM, name=f"{scope}.batch_norm"
    )(x)
    return keras.layers.ReLU(6.0, name=f"{scope}.relu6")(x) if activation else x

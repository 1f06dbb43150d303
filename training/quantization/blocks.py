"""The network out of quantised layers, with the weights of a float model folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import keras
import numpy as np

from edge_app.records import FloatArray
from training.model.layers import BATCH_NORM_EPSILON
from training.model.ssdlite import rebuild
from training.quantization.layers import ActivationRange, QuantizedConv

# A uint8 input of scale 1 / 127.5 and zero point 127: what the converter gives pixels that span -1 to 1.
INPUT_ZERO_POINT = 127.0
_INPUT_RANGE = (-INPUT_ZERO_POINT / 127.5, (255.0 - INPUT_ZERO_POINT) / 127.5)


@dataclass(frozen=True)
class Precision:
    """Bits of weights and activations, and whether weights have a scale per output channel."""

    weight_bits: int = 8
    activation_bits: int = 8
    per_channel: bool = True


class QuantizedBlocks:
    """Blocks that compute as the integer model will; see ``training.model.layers.Blocks``."""

    def __init__(self, precision: Precision) -> None:
        """Build with this precision."""
        self._precision = precision

    def image(self, x: Any) -> Any:
        """Round the picture to its 256 values."""
        return ActivationRange(bits=8, fixed=_INPUT_RANGE, name="image.range")(x)

    def conv(
        self, x: Any, scope: str, filters: int, *, kernel: int = 1, stride: int = 1, activation: bool = True
    ) -> Any:
        """Apply a folded convolution and round what comes out."""
        x = self._conv(x, f"{scope}.conv", filters, kernel_size=kernel, stride=stride, relu6=activation)
        return self._range(x, scope)

    def depthwise(self, x: Any, scope: str, *, stride: int = 1) -> Any:
        """Apply a folded depthwise convolution and round what comes out."""
        name = f"{scope}.depthwise_conv"
        x = self._conv(x, name, x.shape[-1], kernel_size=3, stride=stride, depthwise=True, relu6=True)
        return self._range(x, scope)

    def predictor(self, x: Any, scope: str, filters: int) -> Any:
        """Apply the last convolution of a head; its range is that of the concatenation that follows."""
        return self._conv(x, f"{scope}.conv", filters, kernel_size=1)

    def add(self, one: Any, other: Any, name: str) -> Any:
        """Add and round."""
        return self._range(keras.layers.Add(name=name)([one, other]), name)

    def concatenate(self, parts: Sequence[Any], name: str) -> Any:
        """Join and round: one range for all parts, so that the integer model has nothing to requantise."""
        return self._range(keras.layers.Concatenate(axis=1, name=f"{name}.joined")(list(parts)), name)

    def _conv(self, x: Any, name: str, filters: int, **options: Any) -> Any:
        precision = self._precision
        layer = QuantizedConv(
            filters, bits=precision.weight_bits, per_channel=precision.per_channel, name=name, **options
        )
        return layer(x)

    def _range(self, x: Any, name: str) -> Any:
        return ActivationRange(bits=self._precision.activation_bits, name=f"{name}.range")(x)


def quantized_from(model: keras.Model, precision: Precision, batch_size: Optional[int] = None) -> keras.Model:
    """Build the quantised network of a float model, batch normalisation folded into its convolutions.

    Quantisation is off and no range is set: calibrate, then switch it on (``training.quantization.schedule``).

    Args:
        model: of ``build_ssdlite``, float.
        precision: of the integers.
        batch_size: as for ``build_ssdlite``.
    """
    quantized = rebuild(model, batch_size=batch_size, blocks=QuantizedBlocks(precision))
    names = {layer.name for layer in model.layers}
    for layer in convolutions_of(quantized):
        kernel, bias = _folded(model, layer, names)
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
    return quantized


def convolutions_of(model: keras.Model) -> list[QuantizedConv]:
    """Return the quantised convolutions."""
    return [layer for layer in model.layers if isinstance(layer, QuantizedConv)]


def ranges_of(model: keras.Model) -> list[ActivationRange]:
    """Return the ranges of the activations."""
    return [layer for layer in model.layers if isinstance(layer, ActivationRange)]


def is_quantized(model: keras.Model) -> bool:
    """Say whether a model is one of ``quantized_from``."""
    return bool(convolutions_of(model))


def precision_of(model: keras.Model) -> Precision:
    """Return the precision of a quantised model."""
    first = convolutions_of(model)[0]
    activation_bits = {layer.bits for layer in ranges_of(model) if layer.fixed is None}
    return Precision(first.bits, activation_bits.pop(), first.per_channel)


def _folded(model: keras.Model, layer: QuantizedConv, names: set[str]) -> tuple[FloatArray, FloatArray]:
    """Return kernel and bias of the convolution with its batch normalisation multiplied in."""
    weights = model.get_layer(layer.name).get_weights()
    scope = layer.name.rsplit(".", 1)[0]
    if f"{scope}.batch_norm" not in names:
        return weights[0], weights[1]
    gamma, beta, mean, variance = (
        array.astype(np.float64) for array in model.get_layer(f"{scope}.batch_norm").get_weights()
    )
    factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    kernel = weights[0] * (factor[:, None] if layer.depthwise else factor)
    return kernel.astype(np.float32), (beta - mean * factor).astype(np.float32)

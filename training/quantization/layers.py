"""Keras layers that compute as the integer model will: convolutions with rounded weights, and ranges of activations."""

from __future__ import annotations

from typing import Any, Optional

import keras
from keras import ops

from training.quantization.fake_quant import fake_quantize, is_exporting

# A channel whose weights are all (nearly) zero has no range of its own; the converter clamps scales below this.
SMALLEST_WEIGHT_RANGE = 1e-5
# How much of a moving range is kept in one step.
_RANGE_MOMENTUM = 0.99


@keras.saving.register_keras_serializable("training")
class QuantizedConv(keras.layers.Layer):
    """A convolution with a bias whose kernel is rounded to integers: symmetric, narrow range."""

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        stride: int = 1,
        depthwise: bool = False,
        relu6: bool = False,
        bits: int = 8,
        per_channel: bool = True,
        **options: Any,
    ) -> None:
        """Args:
        filters: output channels; for a depthwise convolution those of the input.
        kernel_size: side of the square kernel.
        stride: step.
        depthwise: one kernel per input channel.
        relu6: end with ReLU6.
        bits: of the weights.
        per_channel: one range per output channel; False for one per tensor.
        """
        super().__init__(**options)
        self.filters, self.kernel_size, self.stride = filters, kernel_size, stride
        self.depthwise, self.relu6, self.bits, self.per_channel = depthwise, relu6, bits, per_channel

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = int(input_shape[-1])
        side = self.kernel_size
        shape = (side, side, channels, 1) if self.depthwise else (side, side, channels, self.filters)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        # Switched on after the delay; see ``training.quantization.schedule``.
        self.enabled = self.add_weight(shape=(), initializer="zeros", trainable=False, name="enabled")

    def call(self, inputs: Any) -> Any:
        """Convolve (batch, h, w, c)."""
        convolve = ops.depthwise_conv if self.depthwise else ops.conv
        x = convolve(inputs, self._rounded_kernel(), strides=self.stride, padding="same") + self.bias
        return ops.relu6(x) if self.relu6 else x

    def weight_limits(self) -> Any:
        """Return the largest weight that the integers reach: (channels,) or a scalar."""
        kernel = self._flat_kernel()
        limit = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)) if self.per_channel else None)
        return ops.maximum(limit, SMALLEST_WEIGHT_RANGE)

    def _flat_kernel(self) -> Any:
        """Return the kernel, output channels last; of a depthwise one (1, h, w, channels), TensorFlow Lite's layout."""
        kernel = ops.convert_to_tensor(self.kernel)
        return ops.reshape(kernel, (1, *kernel.shape[:3])) if self.depthwise else kernel

    def _rounded_kernel(self) -> Any:
        kernel = self._flat_kernel()
        limit = ops.stop_gradient(self.weight_limits())
        rounded = fake_quantize(kernel, -limit, limit, self.bits, narrow=True)
        if not is_exporting():
            rounded = ops.where(self.enabled > 0.5, rounded, kernel)
        return ops.reshape(rounded, self.kernel.shape) if self.depthwise else rounded

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "depthwise": self.depthwise,
            "relu6": self.relu6,
            "bits": self.bits,
            "per_channel": self.per_channel,
        }


@keras.saving.register_keras_serializable("training")
class ActivationRange(keras.layers.Layer):
    """Rounds activations to integers between a low and a high end that follow the data until they are frozen."""

    def __init__(self, *, bits: int = 8, fixed: Optional[tuple[float, float]] = None, **options: Any) -> None:
        """Args:
        bits: of the activations.
        fixed: low and high end that never move; None for a moving range.
        """
        super().__init__(**options)
        self.bits = bits
        self.fixed = None if fixed is None else (float(fixed[0]), float(fixed[1]))

    def build(self, input_shape: Any) -> None:
        """Make the range."""
        low, high = self.fixed or (0.0, 0.0)
        constant = keras.initializers.Constant
        self.low = self.add_weight(shape=(), initializer=constant(low), trainable=False, name="low")
        self.high = self.add_weight(shape=(), initializer=constant(high), trainable=False, name="high")
        self.enabled = self.add_weight(shape=(), initializer="zeros", trainable=False, name="enabled")
        self.moving = self.add_weight(shape=(), initializer="zeros", trainable=False, name="moving")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Round ``inputs``; in training the range follows them while it moves."""
        if is_exporting():
            return fake_quantize(inputs, ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high), self.bits)
        if training and self.fixed is None:
            self._follow(ops.stop_gradient(inputs))
        low, high = ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high)
        # An empty range would divide by zero in the branch that is not taken.
        rounded = fake_quantize(inputs, low, ops.maximum(high, low + 1e-6), self.bits)
        return ops.where(self.enabled > 0.5, rounded, inputs)

    def _follow(self, inputs: Any) -> None:
        low, high = ops.minimum(ops.min(inputs), 0.0), ops.maximum(ops.max(inputs), 0.0)
        # The first batch sets the range as it is: there is nothing yet to average with.
        step = ops.where(ops.equal(self.high, self.low), 1.0, 1.0 - _RANGE_MOMENTUM) * self.moving
        self.low.assign(self.low + step * (low - self.low))
        self.high.assign(self.high + step * (high - self.high))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "bits": self.bits, "fixed": self.fixed}

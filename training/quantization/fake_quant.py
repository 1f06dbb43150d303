"""Simulated integer arithmetic: values rounded to what 8 bits can hold, with gradients as if nothing were rounded.

The mapping is that of Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018), section 3: a range is nudged such that zero is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

# While this is set, ranges are written as the operators that the TensorFlow Lite converter reads them from.
_exporting = False


@contextmanager
def exporting() -> Iterator[None]:
    """Trace models with TensorFlow's own fake-quantisation operators, without anything that is for training only."""
    global _exporting  # noqa: PLW0603 - a tracing mode: layers are called by Keras, nothing can be handed to them
    _exporting = True
    try:
        yield
    finally:
        _exporting = False


def is_exporting() -> bool:
    """Say whether a model is being traced for export."""
    return _exporting


def fake_quantize(x: Any, low: Any, high: Any, bits: int = 8, *, narrow: bool = False) -> Any:
    """Round ``x`` to 2**bits levels between ``low`` and ``high``; per channel where these are vectors.

    Values outside of the range are cut to it and get no gradient.

    Args:
        x: any shape; per channel along the last axis.
        low, high: scalars or (channels,); ``low`` is at most 0, ``high`` at least 0.
        bits: 2 to 16.
        narrow: leave the lowest level out, so that symmetric weights have no level without a counterpart.
    """
    if _exporting or keras.backend.backend() == "tensorflow":
        return _by_tensorflow(x, low, high, bits, narrow)
    return fake_quantize_by_ops(x, low, high, bits, narrow=narrow)


def fake_quantize_by_ops(x: Any, low: Any, high: Any, bits: int = 8, *, narrow: bool = False) -> Any:
    """Do the same in Keras operations, for backends without an operator of their own."""
    x, low, high = (ops.convert_to_tensor(value, "float32") for value in (x, low, high))
    first, last = (1.0 if narrow else 0.0), float(2**bits - 1)
    scale = (high - low) / (last - first)
    zero = ops.clip(ops.round(first - low / scale), first, last)
    lowest, highest = (first - zero) * scale, (last - zero) * scale
    cut = ops.clip(x, lowest, highest)
    # Half up, as TensorFlow's operator rounds; ``ops.round`` rounds half to even.
    rounded = ops.floor((cut - lowest) / scale + 0.5) * scale + lowest
    return cut + ops.stop_gradient(rounded - cut)


def _by_tensorflow(x: Any, low: Any, high: Any, bits: int, narrow: bool) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

    low, high = ops.convert_to_tensor(low), ops.convert_to_tensor(high)
    vector = len(low.shape) == 1
    operator = (
        tf.quantization.fake_quant_with_min_max_vars_per_channel
        if vector
        else tf.quantization.fake_quant_with_min_max_vars
    )
    return operator(x, low, high, num_bits=bits, narrow_range=narrow)

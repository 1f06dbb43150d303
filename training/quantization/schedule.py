"""When quantisation starts and when its ranges stop moving."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from training.quantization.blocks import convolutions_of, ranges_of


def set_phase(model: keras.Model, *, enabled: bool, moving: bool) -> None:
    """Switch rounding and the movement of the ranges of a quantised model on or off."""
    for convolution in convolutions_of(model):
        convolution.enabled.assign(float(enabled))
    for activation in ranges_of(model):
        activation.enabled.assign(float(enabled))
        activation.moving.assign(float(moving and activation.fixed is None))


def calibrate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the ranges to what the float network puts out: the mean of the batches' lowest and highest values.

    Args:
        model: quantised, its rounding off.
        batches: inputs (batch, h, w, 3), normalised.
    """
    ranges = [layer for layer in ranges_of(model) if layer.fixed is None]
    # The ranges' own inputs: nothing is rounded before all is measured.
    probe = keras.Model(model.inputs, [layer.input for layer in ranges])
    lows, highs = [], []
    for batch in batches:
        outputs = [np.asarray(output) for output in probe(batch, training=False)]
        lows.append([min(0.0, float(output.min())) for output in outputs])
        highs.append([max(0.0, float(output.max())) for output in outputs])
    if not lows:
        raise ValueError("calibration needs at least one batch")
    for layer, low, high in zip(ranges, np.mean(lows, axis=0), np.mean(highs, axis=0)):
        layer.low.assign(low)
        layer.high.assign(max(high, low + 1e-3))

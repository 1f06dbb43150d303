"""MobileNetV2 (Sandler et al., CVPR 2018) with the four extra SSD layers of the TF Object Detection API."""

from __future__ import annotations

from typing import Any

from training.model.layers import Blocks

SCOPE = "FeatureExtractor.MobilenetV2"
# Expansion, output channels and stride of the 17 bottlenecks (table 2 of the paper).
_BOTTLENECKS = (
    (1, 16, 1),
    (6, 24, 2), (6, 24, 1),
    (6, 32, 2), (6, 32, 1), (6, 32, 1),
    (6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1),
    (6, 96, 1), (6, 96, 1), (6, 96, 1),
    (6, 160, 2), (6, 160, 1), (6, 160, 1),
    (6, 320, 1),
)  # fmt: skip
# The first feature map for detection is the expansion inside this bottleneck, the last one at stride 16.
_FIRST_FEATURE = 13
# Channels of the 1x1 and of the 3x3 part of each extra layer.
_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))


def divisible_channels(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of ``divisor``, never more than 10 % down (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def feature_maps(image: Any, blocks: Blocks, alpha: float = 1.0) -> list[Any]:
    """Build the feature extractor.

    Args:
        image: (batch, h, w, 3) float, ``(pixel - 127.5) / 127.5``.
        blocks: what to build it of.
        alpha: width multiplier of the backbone.

    Returns:
        Six feature maps, finest first; for 300x300 they are 19, 10, 5, 3, 2 and 1 cells wide.
    """
    x = blocks.conv(blocks.image(image), f"{SCOPE}.Conv", divisible_channels(32 * alpha), kernel=3, stride=2)
    first_feature = None
    for index, (expansion, channels, stride) in enumerate(_BOTTLENECKS):
        scope = f"{SCOPE}.expanded_conv" + (f"_{index}" if index else "")
        x, expanded = _bottleneck(blocks, x, scope, expansion, divisible_channels(channels * alpha), stride)
        if index == _FIRST_FEATURE:
            first_feature = expanded
    x = blocks.conv(x, f"{SCOPE}.Conv_1", divisible_channels(1280 * max(alpha, 1.0)))
    features = [first_feature, x]
    for number, (inner, outer) in enumerate(_EXTRAS, start=2):
        x = blocks.conv(x, f"{SCOPE}.layer_19_1_Conv2d_{number}_1x1_{inner}", inner)
        scope = f"{SCOPE}.layer_19_2_Conv2d_{number}_3x3_s2_{outer}"
        x = blocks.depthwise(x, f"{scope}_depthwise", stride=2)
        x = blocks.conv(x, scope, outer)
        features.append(x)
    return features


def _bottleneck(blocks: Blocks, x: Any, scope: str, expansion: int, channels: int, stride: int) -> tuple[Any, Any]:
    """Apply one inverted residual; returns its output and its expanded feature map."""
    inputs, expanded = x, x
    if expansion > 1:
        expanded = blocks.conv(x, f"{scope}.expand", expansion * x.shape[-1])
    x = blocks.depthwise(expanded, f"{scope}.depthwise", stride=stride)
    x = blocks.conv(x, f"{scope}.project", channels, activation=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = blocks.add(inputs, x, f"{scope}.add")
    return x, expanded

"""MobileNetV2 (Sandler et al., CVPR 2018) with the four extra SSD layers of the TF Object Detection API."""

from __future__ import annotations

from typing import Any

from training.model.layers import Blocks

SCOPE = "FeatureExtractor.MobilenetV2"
FINE_SCOPE = "FeatureExtractor.MobilenetV2.layer_7_context"
_FINE_STRIDE = 8
# Channels of the last bottleneck of the full-width backbone.
WIDEST_BLOCK = 320
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
# The map at stride 8 starts at the expansion inside this bottleneck; its context block narrows it to the first and
# widens it to the second number of channels.
_FINE_FEATURE = 6
_FINE_CHANNELS = (96, 128)
# Channels of the 1x1 and of the 3x3 part of each extra layer.
_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))


def divisible_channels(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of ``divisor``, never more than 10 % down (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def feature_maps(image: Any, blocks: Blocks, alpha: float = 1.0, finest_stride: int = 16) -> list[Any]:
    """Build the feature extractor.

    Args:
        image: (batch, h, w, 3) float, ``(pixel - 127.5) / 127.5``.
        blocks: what to build it of.
        alpha: width multiplier of the backbone.
        finest_stride: 16 for the maps of the TF Object Detection API; 8 puts a finer map in front, for people who are
            small, and leaves the coarsest one out. Both have the same operators in the same numbers.

    Returns:
        Six feature maps, finest first; for 300x300 they are 19, 10, 5, 3, 2 and 1 cells wide, or from 38 to 2.
    """
    x = blocks.conv(blocks.image(image), f"{SCOPE}.Conv", divisible_channels(32 * alpha), kernel=3, stride=2)
    features = []
    for index, (expansion, channels, stride) in enumerate(_BOTTLENECKS):
        scope = f"{SCOPE}.expanded_conv" + (f"_{index}" if index else "")
        x, expanded = _bottleneck(blocks, x, scope, expansion, divisible_channels(channels * alpha), stride)
        if index == _FINE_FEATURE and finest_stride == _FINE_STRIDE:
            features.append(_context(blocks, expanded))
        if index == _FIRST_FEATURE:
            features.append(expanded)
    x = blocks.conv(x, f"{SCOPE}.Conv_1", divisible_channels(1280 * max(alpha, 1.0)))
    features.append(x)
    extras = _EXTRAS[:-1] if finest_stride == _FINE_STRIDE else _EXTRAS
    for number, (inner, outer) in enumerate(extras, start=2):
        x = blocks.conv(x, f"{SCOPE}.layer_19_1_Conv2d_{number}_1x1_{inner}", inner)
        scope = f"{SCOPE}.layer_19_2_Conv2d_{number}_3x3_s2_{outer}"
        x = blocks.depthwise(x, f"{scope}_depthwise", stride=2)
        x = blocks.conv(x, scope, outer)
        features.append(x)
    return features


def _context(blocks: Blocks, x: Any) -> Any:
    """Look at the neighbourhood of each cell of the fine map, which the backbone has seen little of so early."""
    inner, outer = _FINE_CHANNELS
    x = blocks.conv(x, f"{FINE_SCOPE}_1x1_{inner}", inner)
    x = blocks.depthwise(x, f"{FINE_SCOPE}_3x3_depthwise")
    return blocks.conv(x, f"{FINE_SCOPE}_1x1_{outer}", outer)


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

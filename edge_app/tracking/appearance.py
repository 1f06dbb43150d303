"""What people look like, in few numbers: the colours of their upper and lower clothes."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.records import BoxArray, FloatArray, Image

Appearance = NDArray[np.float32]

# The middle of the box, where there is more of the person than of what is behind: parts of width and height.
_LEFT, _RIGHT = 0.25, 0.75
_TOP, _BOTTOM = 0.15, 0.9
_COLUMNS, _ROWS_PER_HALF = 6, 12
_HALVES = 2
# Lightness says less than colour under changing light, but there is often nothing else: few, wide bins for it.
_LIGHTNESS_BINS, _COLOUR_BINS = 8, 8
# Colours of clothes lie within a quarter of the a and b axes around grey.
_COLOUR_FROM, _COLOUR_WIDTH = 96, 8
LENGTH = _HALVES * (_LIGHTNESS_BINS + _COLOUR_BINS * _COLOUR_BINS)
# The bin of each value of a channel, looked up.
_LIGHTNESS_BIN = np.arange(256) * _LIGHTNESS_BINS // 256
_COLOUR_BIN = np.clip((np.arange(256) - _COLOUR_FROM) // _COLOUR_WIDTH, 0, _COLOUR_BINS - 1)

# Unlikeness (1 minus the Bhattacharyya coefficient) at which one person and two are equally likely, and how fast the
# odds change around it. One who walked through a room stayed under 0.05 in 95 % of the pairs of looks that lay more
# than a second apart (60 looks of the one-by-one demonstration video); the rest is room for light and for those behind.
_UNDECIDED = 0.12
_COST_PER_UNLIKENESS = 30.0
_MOST_COST = 6.0
# Weight of the newest look.
_GAIN = 0.1


def describe(image: Image, bbox: BoxArray) -> Appearance:
    """Describe N people.

    Args:
        image: (H, W, 3) BGR.
        bbox: (N, 4) source pixels xyxy.

    Returns:
        (N, D) float32, square roots of histograms in CIELAB, each row of length 1: the dot product of two rows is the
        Bhattacharyya coefficient of the two people's colours. NaN for boxes outside the picture.
    """
    count = len(bbox)
    patches = np.zeros((count, _HALVES * _ROWS_PER_HALF, _COLUMNS, 3), np.uint8)
    visible = np.zeros(count, np.bool_)
    height, width = image.shape[:2]
    for index, (x_min, y_min, x_max, y_max) in enumerate(bbox.tolist()):
        if not math.isfinite(x_min + y_min + x_max + y_max):
            continue
        left = max(0, int(x_min + _LEFT * (x_max - x_min)))
        right = min(width, int(x_min + _RIGHT * (x_max - x_min)) + 1)
        top = max(0, int(y_min + _TOP * (y_max - y_min)))
        bottom = min(height, int(y_min + _BOTTOM * (y_max - y_min)) + 1)
        if right - left < 1 or bottom - top < 2:
            continue
        size = (_COLUMNS, _HALVES * _ROWS_PER_HALF)
        patches[index] = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
        visible[index] = True
    result = _histograms(patches)
    result[~visible] = np.nan
    return result


def _histograms(patches: NDArray[np.uint8]) -> Appearance:
    count = len(patches)
    if count == 0:
        return np.zeros((0, LENGTH), np.float32)
    halves = count * _HALVES
    lab = cv2.cvtColor(patches.reshape(-1, _COLUMNS, 3), cv2.COLOR_BGR2LAB).reshape(halves, -1, 3)
    # Of each half the bins of lightness, then those of colour.
    lightness = _LIGHTNESS_BIN[lab[..., 0]]
    colour = _COLOUR_BIN[lab[..., 1]] * _COLOUR_BINS + _COLOUR_BIN[lab[..., 2]] + _LIGHTNESS_BINS
    bins = LENGTH // _HALVES
    of_half = np.arange(0, halves * bins, bins)[:, None]
    counted = np.bincount((of_half + lightness).ravel(), minlength=halves * bins)
    counted += np.bincount((of_half + colour).ravel(), minlength=halves * bins)
    # Both halves, and lightness and colour, weigh alike.
    return np.sqrt(counted.reshape(count, LENGTH) / (2.0 * _HALVES * lab.shape[1])).astype(np.float32)


def unknown(count: int) -> Appearance:
    """Return (N, D) descriptions of people whose looks are not known."""
    return np.full((count, LENGTH), np.nan, np.float32)


def appearance_cost(tracks: Appearance, detections: Appearance) -> FloatArray:
    """Return the (T, N) cost of T tracks continuing as N detections, in the units of ``association_cost``.

    It is twice the negative logarithm of how much more likely such a likeness is for one person than for two. What is
    not known costs nothing.
    """
    unlike = 1.0 - tracks.astype(np.float64) @ detections.T.astype(np.float64)
    cost = np.clip((unlike - _UNDECIDED) * _COST_PER_UNLIKENESS, -_MOST_COST, _MOST_COST)
    return np.where(np.isnan(cost), 0.0, cost)


def evidence_of_exchange(before: Appearance, now: Appearance) -> FloatArray:
    """Return (K,) the evidence that two people have taken each other's places, in the units of ``association_cost``.

    Args:
        before: (K, 2, D) what the first and the second one looked like.
        now: (K, 2, D) what is seen where each of them should be.

    Returns:
        Twice the logarithm of how much likelier the looks are if they are exchanged than if they are not; 0 where one
        of the looks is not known.
    """
    like = before.astype(np.float64) @ np.swapaxes(now, 1, 2).astype(np.float64)
    gained = like[:, 0, 1] + like[:, 1, 0] - like[:, 0, 0] - like[:, 1, 1]
    # Bounded as the costs of two associations are.
    evidence: FloatArray = np.clip(gained * _COST_PER_UNLIKENESS, -2 * _MOST_COST, 2 * _MOST_COST)
    return np.where(np.isnan(evidence), 0.0, evidence)


def blend(before: Appearance, now: Appearance) -> Appearance:
    """Return (N, D) what tracks look like after they were seen again: people turn, and light changes."""
    mixed = np.where(np.isnan(before), now, before + _GAIN * (np.where(np.isnan(now), before, now) - before))
    length = np.sqrt((mixed.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return (mixed / np.maximum(length, 1e-6)).astype(np.float32)

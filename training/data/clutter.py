"""Things that stand about in a scene and are nobody: poles, signs, tripods, bollards, boards, as upright as people."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.records import Image

Shape = Callable[[Image, float, float, float, np.random.Generator], None]
_FULL = 255


def draw_thing(
    picture: npt.NDArray[np.float32], foot: float, x: float, height: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw one thing into a picture, shaded and a little rough.

    Args:
        picture: (H, W, 3) float32 BGR, changed in place.
        foot, x: where it stands, pixels.
        height: of a person who stood there, pixels.
        rng: all chance comes from here.

    Returns:
        (H, W) where it covers the picture.
    """
    rows, columns = picture.shape[:2]
    mask = np.zeros((rows, columns), np.uint8)
    _SHAPES[rng.integers(len(_SHAPES))](mask, foot, x, height, rng)
    left, top, wide, tall = cv2.boundingRect(mask)
    region = (slice(top, top + tall), slice(left, left + wide))
    colour = rng.uniform(10, 240) + rng.uniform(0, 0.4) * rng.uniform(-255, 255, 3)
    slope = rng.normal(0, 0.5) * (np.arange(left, left + wide, dtype=np.float32) - x) / max(height, 1.0)
    shade = np.clip(1.0 + slope, 0.5, 1.5)[None, :, None]
    texture = rng.normal(0, rng.uniform(1, 8), (tall, wide, 1)).astype(np.float32)
    blend = (mask[region].astype(np.float32) / _FULL)[..., None]
    picture[region] = blend * (colour * shade + texture).astype(np.float32) + (1 - blend) * picture[region]
    covered: npt.NDArray[np.bool_] = mask > _FULL // 2
    return covered


def _pole(mask: Image, foot: float, x: float, height: float, rng: np.random.Generator) -> None:
    tall = height * rng.uniform(0.6, 3.0)
    _line(mask, (x, foot), (x + rng.normal(0, 0.02) * tall, foot - tall), height * rng.uniform(0.02, 0.12))


def _sign(mask: Image, foot: float, x: float, height: float, rng: np.random.Generator) -> None:
    tall, size = height * rng.uniform(0.7, 1.6), height * rng.uniform(0.1, 0.25)
    _line(mask, (x, foot), (x, foot - tall), height * rng.uniform(0.02, 0.06))
    if rng.random() < 0.5:
        cv2.circle(mask, (round(x), round(foot - tall)), max(1, round(size)), (_FULL,), -1, cv2.LINE_AA)
    else:
        _box(mask, x, foot - tall + size, 2 * size * rng.uniform(0.6, 1.6), 2 * size)


def _tripod(mask: Image, foot: float, x: float, height: float, rng: np.random.Generator) -> None:
    tall, spread = height * rng.uniform(0.5, 1.0), height * rng.uniform(0.12, 0.3)
    top = (x, foot - tall)
    for part in (-1.0, rng.uniform(-0.4, 0.4), 1.0):
        _line(mask, (x + part * spread, foot - rng.uniform(0, 0.08) * height), top, height * rng.uniform(0.015, 0.04))
    size = height * rng.uniform(0.08, 0.25)
    _box(mask, x, foot - tall + size / 2, size * rng.uniform(0.7, 1.8), size)


def _bollard(mask: Image, foot: float, x: float, height: float, rng: np.random.Generator) -> None:
    tall, wide = height * rng.uniform(0.3, 0.9), height * rng.uniform(0.1, 0.3)
    _box(mask, x, foot, wide, tall)
    cv2.circle(mask, (round(x), round(foot - tall)), max(1, round(wide / 2)), (_FULL,), -1, cv2.LINE_AA)


def _board(mask: Image, foot: float, x: float, height: float, rng: np.random.Generator) -> None:
    tall, wide = height * rng.uniform(0.5, 1.3), height * rng.uniform(0.2, 0.6)
    lean = rng.normal(0, 0.08) * wide
    corners = [
        (x - wide / 2, foot),
        (x + wide / 2, foot),
        (x + wide / 2 + lean, foot - tall),
        (x - wide / 2, foot - tall),
    ]
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), (_FULL,), cv2.LINE_AA)


_SHAPES: tuple[Shape, ...] = (_pole, _sign, _tripod, _bollard, _board)


def _line(mask: Image, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    first, last = ((round(x), round(y)) for x, y in (start, end))
    cv2.line(mask, first, last, (_FULL,), max(1, round(width)), cv2.LINE_AA)


def _box(mask: Image, x: float, foot: float, width: float, height: float) -> None:
    first = (round(x - width / 2), round(foot - height))
    cv2.rectangle(mask, first, (round(x + width / 2), round(foot)), (_FULL,), -1)

"""Polygons as people draw them."""

from __future__ import annotations

from collections.abc import Sequence

Point = Sequence[float]


def sides_cross(corners: Sequence[Point]) -> bool:
    """Tell whether two sides of a closed polygon cross each other; a corner that touches a side does not.

    Args:
        corners: (x, y), in order.
    """
    sides = [(corners[index - 1], corners[index]) for index in range(len(corners))]
    return any(_cross(*first, *second) for index, first in enumerate(sides) for second in sides[index + 1 :])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _turn(a: Point, b: Point, c: Point) -> float:
    """Return above 0 if the way from a over b to c turns left, below 0 if right."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

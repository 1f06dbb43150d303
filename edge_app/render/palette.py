"""Colours and strokes of every picture, BGR; violations differ by brightness and width as well as by hue."""

from __future__ import annotations

Colour = tuple[int, int, int]

PERSON: Colour = (206, 170, 66)
VIOLATION: Colour = (51, 94, 255)
INK: Colour = (250, 250, 250)
SHADE: Colour = (32, 26, 22)
GROUND: Colour = (46, 38, 32)
GRID: Colour = (84, 72, 62)
GRID_LABEL: Colour = (170, 156, 144)


def stroke(height: int) -> int:
    """Return the line width that suits a picture of this height, pixels."""
    return max(1, round(height / 480))


def font_scale(height: int) -> float:
    """Return OpenCV's font scale that suits a picture of this height."""
    return max(0.38, height / 1250)

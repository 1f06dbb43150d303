"""The metre grid: what a calibration claims, drawn on the picture for people to judge."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from edge_app.calibration.camera import CameraModel
from edge_app.records import FloatArray, Image
from edge_app.render import palette
from edge_app.render.birdseye import visible_ground

_STEPS_PER_LINE = 120
_MOST_LINES = 120
_BOLD_EVERY = 5
_CLOSEST_PX = 9.0


def draw_metre_grid(image: Image, camera: CameraModel) -> Image:
    """Return a copy of the picture with lines a metre apart on the ground, every fifth one bold.

    Args:
        image: (H, W, 3) uint8 BGR, of the calibration's size; people in it have to be hidden before.
        camera: the calibration.
    """
    canvas = image.copy()
    for line, bold in metre_lines(camera, (image.shape[1], image.shape[0])):
        _draw_line(canvas, line, bold)
    return canvas


def metre_lines(camera: CameraModel, image_size: tuple[int, int]) -> Iterator[tuple[FloatArray, bool]]:
    """Yield the grid's lines as (N, 2) pixels, NaN where a line would be too dense to see, and which are bold.

    Args:
        camera: the calibration.
        image_size: width, height of its picture, pixels.
    """
    outline = visible_ground(camera, image_size)
    low, high = np.floor(outline.min(axis=0)), np.ceil(outline.max(axis=0))
    step = max(1.0, float(np.ceil((high - low).max() / _MOST_LINES)))
    for axis in (0, 1):
        for value in np.arange(low[axis], high[axis] + step / 2, step):
            along = np.linspace(low[1 - axis], high[1 - axis], _STEPS_PER_LINE)
            points = np.empty((len(along), 2))
            points[:, axis], points[:, 1 - axis] = value, along
            bold = round(value / step) % _BOLD_EVERY == 0
            neighbour = points.copy()
            neighbour[:, axis] += step
            line = camera.ground_to_image(points)
            spacing = np.hypot(*(camera.ground_to_image(neighbour) - line).T) * (_BOLD_EVERY if bold else 1)
            # Far away only every fifth line, and farther still none: a wall of lines hides the ground.
            line[~(spacing > _CLOSEST_PX)] = np.nan
            yield line, bold


def _draw_line(canvas: Image, points_px: FloatArray, bold: bool) -> None:
    """Draw the parts of a line that are in front of the camera, dark under light to be seen on any ground."""
    size = np.array([canvas.shape[1], canvas.shape[0]])
    with np.errstate(invalid="ignore"):
        near = (np.abs(points_px - size / 2) < 2 * size).all(axis=1)
    thin = palette.stroke(canvas.shape[0])
    strokes = ((palette.SHADE, thin + 2), (palette.INK, thin)) if bold else ((palette.GRID_LABEL, thin),)
    for colour, thickness in strokes:
        for first, second, both in zip(points_px[:-1], points_px[1:], near[:-1] & near[1:]):
            if both:
                ends = [tuple(int(value) for value in np.round(point * 16)) for point in (first, second)]
                cv2.line(canvas, ends[0], ends[1], colour, thickness, cv2.LINE_AA, 4)

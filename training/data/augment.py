"""Augmentation for surveillance views: small people, other aspects, poor light, blur and compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_app.records import FloatArray, Image
from training.data.paste import Pasting, paste_people
from training.data.pictures import Example

# A box that keeps less than this part of itself in a crop is no example of a person any more.
_SEEN_PART = 0.4
# People smaller than this, pixels at the model's input, can't be told from noise and are ignored.
_SMALLEST_PX = 8.0


@dataclass(frozen=True)
class Augmentation:
    """How pictures are changed; probabilities unless stated otherwise.

    Attributes:
        mosaic: chances of 1, 4 and 9 pictures in one input: the people of 4 are half, those of 9 a third as tall.
        scale: range of the zoom of each picture in its cell.
        aspect: range of width over height that a picture is stretched to; wide pictures are squeezed to a square.
        scenes: chance of a scene: people, cut out of their pictures, pasted small onto one background.
        groups: chance that a person of a scene stands close to the one before.
        clutter: mean number of things in a scene that stand about, such as poles and tripods; none of them is a person.
        blur, jpeg, dark, noise: chances of each damage.
    """

    mosaic: tuple[float, float, float] = (0.35, 0.4, 0.25)
    scale: tuple[float, float] = (0.7, 1.6)
    aspect: tuple[float, float] = (0.55, 1.15)
    scenes: float = 0.0
    groups: float = 0.0
    clutter: float = 0.0
    flip: float = 0.5
    blur: float = 0.2
    jpeg: float = 0.3
    dark: float = 0.3
    noise: float = 0.2


def compose(
    draw: Callable[[], Example], size: int, options: Augmentation, rng: np.random.Generator
) -> tuple[Image, FloatArray, FloatArray]:
    """Make one training input.

    Args:
        draw: gives a random example.
        size: side of the square input, pixels.
        options: how.
        rng: all chance comes from here.

    Returns:
        (size, size, 3) uint8 RGB, (N, 4) boxes of people and (M, 4) ignored regions, normalised ymin, xmin, ymax, xmax.
    """
    if options.scenes and rng.random() < options.scenes:
        canvas, people, regions = _scene(draw, size, options, rng)
    else:
        canvas, people, regions = _mosaic(draw, size, options, rng)
    people, regions = people / size, regions / size
    if rng.random() < options.flip:
        canvas = canvas[:, ::-1].copy()
        people, regions = _flipped(people), _flipped(regions)
    return cv2.cvtColor(_damage(canvas, options, rng), cv2.COLOR_BGR2RGB).astype(np.uint8), people, regions


def _scene(
    draw: Callable[[], Example], size: int, options: Augmentation, rng: np.random.Generator
) -> tuple[Image, FloatArray, FloatArray]:
    """Paste people onto one picture, zoomed in: its own people are large, or out of the picture; pixels."""
    background = draw()
    zoomed = replace(options, scale=(1.0, 2.2))
    canvas, to_canvas = _place(background, size, size, zoomed, rng)
    ignored: list[FloatArray] = []
    people = _cut(to_canvas(background.boxes), True, (0, 0, size, size), ignored)
    regions = [_cut(to_canvas(background.ignored), False, (0, 0, size, size), ignored), *ignored]
    aspect = float(np.exp(rng.uniform(*np.log(options.aspect))))
    pasting = Pasting(groups=options.groups, clutter=options.clutter)
    canvas, people, hidden = paste_people(canvas, people, draw, pasting, aspect, rng)
    return canvas, *_tall_enough(people, np.concatenate([*regions, hidden]))


def _tall_enough(people: FloatArray, ignored: FloatArray) -> tuple[FloatArray, FloatArray]:
    tall = people[:, 2] - people[:, 0] >= _SMALLEST_PX
    return people[tall], np.concatenate([ignored, people[~tall]])


def _mosaic(
    draw: Callable[[], Example], size: int, options: Augmentation, rng: np.random.Generator
) -> tuple[Image, FloatArray, FloatArray]:
    """Put 1, 4 or 9 pictures side by side; pixels."""
    cells = int(rng.choice(3, p=options.mosaic)) + 1
    edges = np.round(np.linspace(0, size, cells + 1)).astype(int)
    canvas = np.zeros((size, size, 3), np.uint8)
    boxes: list[FloatArray] = []
    ignored: list[FloatArray] = []
    for top, bottom in zip(edges[:-1], edges[1:]):
        for left, right in zip(edges[:-1], edges[1:]):
            example = draw()
            tile, to_tile = _place(example, bottom - top, right - left, options, rng)
            canvas[top:bottom, left:right] = tile
            for source, target in ((example.boxes, boxes), (example.ignored, ignored)):
                moved = to_tile(source) + np.array([top, left, top, left])
                target.append(_cut(moved, source is example.boxes, (top, left, bottom, right), ignored))
    return canvas, np.concatenate(boxes), np.concatenate(ignored)


def _place(
    example: Example, height: int, width: int, options: Augmentation, rng: np.random.Generator
) -> tuple[Image, Callable[[FloatArray], FloatArray]]:
    """Zoom, stretch and shift a picture into a cell; returns the cell and where normalised boxes land in it, pixels."""
    zoom = np.exp(rng.uniform(*np.log(options.scale)))
    aspect = example.squeezed * np.exp(rng.uniform(*np.log(options.aspect)))
    image = example.decode(zoom * max(height, aspect * width))
    rows, columns = image.shape[:2]
    scale_y = zoom * height / rows
    scale_x = zoom * aspect * width / columns
    shift_y = rng.uniform(min(0.0, height - scale_y * rows), max(0.0, height - scale_y * rows))
    shift_x = rng.uniform(min(0.0, width - scale_x * columns), max(0.0, width - scale_x * columns))
    fill = image[:: max(1, rows // 16), :: max(1, columns // 16)].reshape(-1, 3).mean(axis=0)
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    # Bilinear sampling of a strongly reduced picture aliases; cameras and resizers do not.
    if min(scale_x, scale_y) < 0.5:
        factor = 2.0 * min(scale_x, scale_y)
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        matrix[:, :2] = matrix[:, :2] @ np.diag([columns / image.shape[1], rows / image.shape[0]])
    tile = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=fill.tolist())
    extent = np.array([scale_y * rows, scale_x * columns] * 2)
    shift = np.array([shift_y, shift_x] * 2)
    return tile.astype(np.uint8), lambda boxes: boxes * extent + shift


def _cut(boxes: FloatArray, are_people: bool, cell: tuple[int, int, int, int], ignored: list[FloatArray]) -> FloatArray:
    """Cut boxes (pixels) to a cell; people of whom too little is left become ignored regions."""
    low, high = np.array(cell[:2]), np.array(cell[2:])
    inside = np.hstack([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)])
    size, whole = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    there = (size > 0).all(axis=1)
    if not are_people:
        return inside[there]
    seen = np.prod(size, axis=1) >= _SEEN_PART * np.prod(whole, axis=1)
    good = there & seen & (size[:, 0] >= _SMALLEST_PX)
    ignored.append(inside[there & ~good])
    return inside[good]


def _flipped(boxes: FloatArray) -> FloatArray:
    return np.column_stack([boxes[:, 0], 1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1]])


def _damage(image: Image, options: Augmentation, rng: np.random.Generator) -> Image:
    """Change light and colour always, and blur, darken, add noise and compress by chance."""
    picture = image.astype(np.float32)
    picture = picture * rng.uniform(0.8, 1.2, 3).astype(np.float32) * np.float32(rng.uniform(0.75, 1.25))
    picture = (picture - 128) * np.float32(rng.uniform(0.75, 1.25)) + 128
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(rng.uniform(0.3, 1.3))
    if rng.random() < options.dark:
        picture = 255 * np.clip(picture / 255, 0, 1) ** np.float32(rng.uniform(1.2, 2.2))
    if rng.random() < options.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.2)))
    if rng.random() < options.noise:
        picture = picture + rng.normal(0, rng.uniform(2, 10), picture.shape).astype(np.float32)
    result = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < options.jpeg:
        _, encoded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        result = cv2.imdecode(encoded, cv2.IMREAD_COLOR).astype(np.uint8)
    return result

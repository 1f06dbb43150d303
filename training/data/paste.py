"""Scenes composed as a surveillance camera sees them: small people, cut out of their pictures, on one background.

Copying objects onto other backgrounds is from Ghiasi et al., "Simple Copy-Paste Is a Strong Data Augmentation Method
for Instance Segmentation" (CVPR 2021); outlines come from GrabCut (Rother et al., 2004), as the data has boxes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.records import FloatArray, Image
from training.data.clutter import draw_thing
from training.data.pictures import Example

# Rows of a cut-out: more than any pasted person has at 300 pixels of input.
_CUTOUT_ROWS = 112
# People with fewer rows in their picture are too coarse to be cut out.
_MIN_SOURCE_ROWS = 60
# Parts of its box that an outline of a person covers; outside of it GrabCut has failed.
_PLAUSIBLE_FILL = (0.25, 0.9)
# People who stand together: their distance in widths, and how much nearer the second is, in heights.
_GROUP_GAP = (0.35, 1.4)
_GROUP_DEPTH = 0.15
# A person of whom less than this is visible is no example any more.
_VISIBLE_PART = 0.45


FloatMask = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cutout:
    """A person without background.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask: (H, W) float32, 1 inside the outline.
        aspect: width over height in the picture it comes from.
    """

    image: Image
    mask: FloatMask
    aspect: float


@dataclass(frozen=True)
class Pasting:
    """How scenes are made.

    Attributes:
        people: range of the number of people pasted onto a background.
        height: range of their height at the foot of the picture, as a part of its height.
        horizon: range of the row, as a part of the height, where people would have no height; they shrink towards it.
        decoys: pieces of background in the outline of a person, for each person; nobody, so that a seam is no person.
        groups: chance that a person stands close to the one before.
        clutter: mean number of things that stand about; see ``clutter``.
    """

    people: tuple[int, int] = (2, 14)
    height: tuple[float, float] = (0.1, 0.45)
    horizon: tuple[float, float] = (-1.0, 0.2)
    decoys: float = 0.6
    groups: float = 0.0
    clutter: float = 0.0


def paste_people(
    scene: Image,
    boxes: FloatArray,
    draw: Callable[[], Example],
    options: Pasting,
    aspect: float,
    rng: np.random.Generator,
) -> tuple[Image, FloatArray, FloatArray]:
    """Paste people and decoys into a scene, the far ones first.

    Args:
        scene: (H, W, 3) uint8 BGR.
        boxes: (N, 4) people who are in the scene, pixels, ymin, xmin, ymax, xmax.
        draw: gives a random example to cut a person from.
        options: how many and how tall.
        aspect: factor on widths: a wide picture is squeezed into a square input.
        rng: all chance comes from here.

    Returns:
        The picture, all people that can be seen, and those that are mostly hidden, (N, 4) and (M, 4), pixels.
    """
    rows = scene.shape[0]
    canvas = _Canvas(scene, boxes)
    near, horizon = rng.uniform(*options.height), rng.uniform(*options.horizon)
    count = int(rng.integers(options.people[0], options.people[1] + 1))
    feet = np.sort(rng.uniform(max(horizon + 0.15, 0.1), 1.05, count + round(count * options.decoys)))
    is_decoy = rng.permutation(np.arange(len(feet)) >= count)
    elsewhere = draw()
    nobody = elsewhere.decode()
    things = (
        np.sort(rng.uniform(min(feet[0], 1.0), 1.0, rng.poisson(options.clutter))).tolist() if options.clutter else []
    )
    last: Optional[FloatArray] = None
    for place, decoy in zip(feet, is_decoy):
        while things and things[0] < place:
            foot = things.pop(0)
            canvas.add_thing(foot * rows, near * _part(foot, horizon) * rows, rng)
        neighbour = last if options.groups and not decoy and rng.random() < options.groups else None
        foot = place if neighbour is None else _beside(neighbour, rows, rng)
        height = near * _part(foot, horizon) * rows * np.exp(rng.normal(0, 0.08))
        source = _cut_somebody(draw, rng)
        if source is None or height < 10:
            continue
        box = _box_at(foot * rows, height, max(height * source.aspect * aspect, 3.0), scene.shape[1], neighbour, rng)
        if decoy:
            material = _background(nobody, elsewhere, source.aspect, rng)
            if material is not None:
                canvas.add_decoy(material, source.mask, box, rng)
        elif canvas.add_person(source, box, rng):
            last = box
    return canvas.result()


class _Canvas:
    """A scene that is pasted into, and who can be seen where."""

    def __init__(self, scene: Image, boxes: FloatArray) -> None:
        self._picture = scene.astype(np.float32)
        self._owner = np.full(scene.shape[:2], -1, np.int32)
        self._found: list[FloatArray] = [np.asarray(box, np.float64) for box in boxes]
        self._area = [max(float((box[2] - box[0]) * (box[3] - box[1])), 1.0) for box in self._found]
        for number, box in enumerate(self._found):
            top, left, bottom, right = np.round(box).astype(int)
            self._owner[top:bottom, left:right] = number

    def add_thing(self, foot: float, height: float, rng: np.random.Generator) -> None:
        covered = draw_thing(self._picture, foot, rng.uniform(0, self._picture.shape[1]), height, rng)
        self._owner[covered] = -1

    def add_decoy(self, material: Image, mask: FloatMask, box: FloatArray, rng: np.random.Generator) -> None:
        drawn = _draw(self._picture, material, mask, box, rng)
        if drawn is not None:
            self._owner[drawn[0]][drawn[1]] = -1

    def add_person(self, source: Cutout, box: FloatArray, rng: np.random.Generator) -> bool:
        """Paste a person; says whether any of them lies in the picture."""
        drawn = _draw(self._picture, source.image, source.mask, box, rng)
        if drawn is None:
            return False
        self._owner[drawn[0]][drawn[1]] = len(self._found)
        rows, columns = self._owner.shape
        self._found.append(np.clip(box, 0, [rows, columns, rows, columns]))
        self._area.append(float((source.mask > 0.5).mean() * np.prod(box[2:] - box[:2])))
        return True

    def result(self) -> tuple[Image, FloatArray, FloatArray]:
        """Return the picture, the people who can be seen, and those who are mostly hidden."""
        count = len(self._found)
        visible = np.bincount(self._owner[self._owner >= 0], minlength=count) if count else np.zeros(0)
        seen = visible >= _VISIBLE_PART * np.array(self._area)
        everyone = np.array(self._found).reshape(-1, 4)
        return np.clip(self._picture, 0, 255).astype(np.uint8), everyone[seen], everyone[~seen]


def _box_at(
    foot: float, height: float, width: float, columns: int, neighbour: Optional[FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Return a box with its foot on a row, anywhere across the picture or beside a neighbour, pixels."""
    left = rng.uniform(-0.3 * width, columns - 0.7 * width)
    if neighbour is not None:
        left = neighbour[1] + rng.choice([-1, 1]) * rng.uniform(*_GROUP_GAP) * width
    return np.array([foot - height, left, foot, left + width])


def _part(foot: float, horizon: float) -> float:
    """Return how tall people are at a row, as a part of their height at the foot of the picture."""
    return (foot - horizon) / (1 - horizon)


def _beside(neighbour: FloatArray, rows: int, rng: np.random.Generator) -> float:
    """Return the foot, as a part of the picture's height, of somebody who stands a little nearer than a neighbour."""
    top, _, bottom, _ = neighbour
    return float(bottom + rng.uniform(0, _GROUP_DEPTH) * (bottom - top)) / rows


def _cut_somebody(draw: Callable[[], Example], rng: np.random.Generator) -> Optional[Cutout]:
    """Cut a random person out of a random example; None if those tried cannot be cut out."""
    for _ in range(6):
        example = draw()
        whole = (example.boxes > 0.004).all(axis=1) & (example.boxes < 0.996).all(axis=1)
        usable = np.flatnonzero(whole)
        if len(usable):
            cutout = _cutout(example, int(rng.choice(usable)))
            if cutout is not None:
                return cutout
    return None


# Outlines take long to find, and every person is drawn many times.
_known: dict[tuple[Example, int], Optional[Cutout]] = {}


def know_cutouts(examples: Iterable[Example], cutouts: Iterable[list[Optional[Cutout]]]) -> None:
    """Take over what ``cut_out_all`` found for each of the examples, in another process maybe."""
    for example, found in zip(examples, cutouts):
        _known.update({(example, index): cutout for index, cutout in enumerate(found)})


def cut_out_all(example: Example) -> list[Optional[Cutout]]:
    """Cut all people out of a picture; None for those who cannot be."""
    return [_cut_out(example, index) for index in range(len(example.boxes))]


def _cutout(example: Example, index: int) -> Optional[Cutout]:
    key = (example, index)
    if key not in _known:
        _known[key] = _cut_out(example, index)
    return _known[key]


def _cut_out(example: Example, index: int) -> Optional[Cutout]:
    """Find the outline of a person with GrabCut, from a margin that is background; None where that fails."""
    image = example.decode()
    rows, columns = image.shape[:2]
    top, left, bottom, right = np.round(example.boxes[index] * [rows, columns, rows, columns]).astype(int)
    if bottom - top < max(_MIN_SOURCE_ROWS, 1.2 * (right - left)) or right - left < 8:
        return None
    margin = max(3, (bottom - top) // 8)
    low = np.maximum([top - margin, left - margin], 0)
    patch = image[low[0] : bottom + margin, low[1] : right + margin]
    factor = min(1.0, _CUTOUT_ROWS / (bottom - top))
    patch = cv2.resize(patch, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
    (y, x), (height, width) = (np.array(v) * factor for v in ([top, left] - low, (bottom - top, right - left)))
    mask = _person_in(patch, (round(x), round(y), round(width), round(height)))
    if mask is None:
        return None
    x, y, width, height = cv2.boundingRect(mask)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0).astype(np.float32)
    window = (slice(y, y + height), slice(x, x + width))
    return Cutout(patch[window].copy(), soft[window], example.squeezed * width / height)


def _person_in(patch: Image, window: tuple[int, int, int, int]) -> Optional[Image]:
    """Return the mask of the largest thing in a window (x, y, width, height), uint8, if it is as large as a person."""
    labels = np.zeros(patch.shape[:2], np.uint8)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(patch, labels, window, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
    except cv2.error:
        # Nothing outside the window, or one colour only: no outline can be told.
        return None
    mask = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask)
    if len(statistics) < 2:
        return None
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    _, _, width, height, area = statistics[largest]
    fill = area / (window[2] * window[3])
    if not _PLAUSIBLE_FILL[0] <= fill <= _PLAUSIBLE_FILL[1] or height < 0.9 * window[3] or width < 0.6 * window[2]:
        return None
    return (parts == largest).astype(np.uint8)


def _background(image: Image, example: Example, aspect: float, rng: np.random.Generator) -> Optional[Image]:
    """Return a piece of an example's picture with nobody in it, of a cut-out's aspect; None if somebody is."""
    rows, columns = image.shape[:2]
    height = int(rng.uniform(0.15, 0.6) * rows)
    width = int(min(height * aspect + 1, columns - 1))
    top, left = int(rng.integers(rows - height)), int(rng.integers(columns - width))
    for occupied in (example.boxes, example.ignored):
        edges = occupied * [rows, columns, rows, columns]
        overlap = np.minimum(edges[:, 2:], [top + height, left + width]) - np.maximum(edges[:, :2], [top, left])
        if (overlap > 0).all(axis=1).any():
            return None
    return image[top : top + height, left : left + width]


def _draw(
    picture: npt.NDArray[np.float32],
    material: Image,
    mask: FloatMask,
    box: FloatArray,
    rng: np.random.Generator,
) -> Optional[tuple[tuple[slice, slice], np.ndarray]]:
    """Blend material through a mask into a box of the picture; returns the region and where the material covers it."""
    top, left, bottom, right = np.round(box).astype(int)
    size = (max(right - left, 1), max(bottom - top, 1))
    pixels = cv2.resize(material, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        alpha = alpha[:, ::-1]
    rows, columns = picture.shape[:2]
    low_y, low_x, high_y, high_x = max(top, 0), max(left, 0), min(bottom, rows), min(right, columns)
    if high_y <= low_y or high_x <= low_x:
        return None
    region = (slice(low_y, high_y), slice(low_x, high_x))
    part = (slice(low_y - top, high_y - top), slice(low_x - left, high_x - left))
    around = picture[region]
    # Towards the light of the place, or the brightness alone would give the person away.
    shift = rng.uniform(0, 0.8) * (around.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1)))
    blend = alpha[part][..., None]
    picture[region] = blend * (pixels[part] + shift) + (1 - blend) * around
    return region, alpha[part] > 0.5

"""What a detector makes of people: misses, loose boxes, one box over two, duplicates, things and flicker.

The kinds of mistakes are those of single-shot detectors; how often each happens are round figures, chosen once and the
same for every tracker that is compared. Mistakes last: what a detector gets wrong it gets wrong for some frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from edge_app.box_overlap import iou_matrix, shared_area
from edge_app.records import BoolArray, Detections, FloatArray
from training.simulation.looks import Looks
from training.simulation.scenes import Scene, SeenFrame


@dataclass(frozen=True)
class DetectorModel:
    """How a detector errs.

    Attributes:
        misses: part of the time in which a person in full view is not found.
        missed_when_hidden: the same of a person of whom nearly nothing is seen; between the two in proportion.
        loose: part of the time in which a box is loose, each edge off by ``loose_part`` of the height.
        merged: probability that two people who overlap by an IoU of 0.4 or more are found as one box, at a time.
        twice: part of the time in which a person is found a second time, as a part of the body or too large.
        things: things that are taken for people in ``thing_frames`` of the frames.
        flicker: false boxes a frame that last a moment.
        memory_s: time that a mistake lasts.
        score_mean, score_sd: of people in view; ``weak_mean`` of those half hidden, of things and of flicker.
    """

    misses: float = 0.08
    missed_when_hidden: float = 0.9
    loose: float = 0.10
    loose_part: float = 0.15
    merged: float = 0.4
    twice: float = 0.04
    things: int = 2
    thing_frames: float = 0.7
    flicker: float = 0.15
    memory_s: float = 0.6
    score_mean: float = 0.65
    score_sd: float = 0.15
    weak_mean: float = 0.35
    weak_sd: float = 0.10


# Boxes under this score are not reported, nor those of which a surer one covers more than half (IoU).
_LEAST_SCORE = 0.15
_SUPPRESSED_IOU = 0.5
_MERGED_IOU = 0.4
_SHOWN_IOU_OF_HEAD = 0.3


@dataclass(frozen=True)
class _Lasting:
    """Mistakes that last: values that forget themselves with time."""

    normal: FloatArray
    keep: float
    generator: np.random.Generator

    @staticmethod
    def start(shape: tuple[int, ...], dt_s: float, memory_s: float, generator: np.random.Generator) -> _Lasting:
        return _Lasting(generator.standard_normal(shape), float(np.exp(-dt_s / memory_s)), generator)

    def next(self) -> _Lasting:
        fresh = self.generator.standard_normal(self.normal.shape)
        return _Lasting(self.keep * self.normal + np.sqrt(1 - self.keep**2) * fresh, self.keep, self.generator)


def detections_of(
    scene: Scene, frames: Iterator[SeenFrame], dt_s: float, model: DetectorModel, generator: np.random.Generator
) -> Iterator[tuple[SeenFrame, Detections, BoolArray]]:
    """Look at every frame as a detector does.

    Args:
        scene: the camera.
        frames: people with their boxes, noise of the edges included.
        dt_s: from frame to frame.
        model: how it errs.
        generator: of everything.

    Yields:
        The frame, what is found, and (T,) which people are shown enough to count.
    """
    lasting: dict[str, _Lasting] = {}
    looks: Optional[Looks] = None
    things = _things(scene, model.things, generator)
    flicker = _Flicker(scene, model, generator)
    for frame in frames:
        people = len(frame.ground_m)
        if looks is None:
            looks = Looks.draw(people, generator)
            shapes = {
                "miss": (people,),
                "loose": (people,),
                "edges": (people, 4),
                "score": (people,),
                "twice": (people,),
            }
            shapes |= {"merge": (people, people), "thing": (len(things),), "thing_score": (len(things),)}
            lasting = {name: _Lasting.start(shape, dt_s, model.memory_s, generator) for name, shape in shapes.items()}
        lasting = {name: each.next() for name, each in lasting.items()}
        boxes, scores, counted = _people(frame, lasting, model)
        shown = lasting["thing"].normal < _quantile(model.thing_frames)
        thing_score = model.weak_mean + model.weak_sd * lasting["thing_score"].normal
        false_boxes, false_scores = flicker.next()
        bbox = np.concatenate([boxes, things[shown], false_boxes])
        bbox = bbox + generator.normal(0, 0.02, bbox.shape) * (bbox[:, 3:] - bbox[:, 1:2])
        score = np.clip(np.concatenate([scores, thing_score[shown], false_scores]), 0.0, 0.99)
        found = _suppressed(bbox, score)
        yield frame, replace(found, appearance=looks.describe(frame, found.bbox)), counted


def _people(
    frame: SeenFrame, lasting: dict[str, _Lasting], model: DetectorModel
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return boxes and scores of people, and which of them are shown enough to count."""
    rows = frame.tracks.id - 1
    bbox = frame.tracks.bbox.astype(np.float64)
    height = (bbox[:, 3] - bbox[:, 1])[:, None]
    hidden = _hidden_parts(bbox)
    missing = model.misses + (model.missed_when_hidden - model.misses) * hidden
    found = lasting["miss"].normal[rows] > _quantile(missing)
    is_loose = lasting["loose"].normal[rows] < _quantile(model.loose)
    edges = lasting["edges"].normal[rows] * model.loose_part * height
    boxes = bbox + np.where(is_loose[:, None], edges, 0.0)
    strength = model.score_mean + (model.weak_mean - model.score_mean) * np.minimum(1.0, 2 * hidden)
    scores = strength + model.score_sd * lasting["score"].normal[rows]
    boxes, found = _merged(boxes, found, lasting["merge"].normal[np.ix_(rows, rows)], model)
    again = found & (lasting["twice"].normal[rows] < _quantile(model.twice))
    part = boxes[again].copy()
    # Every other time the upper half of the body, else a box half as large again.
    upper = lasting["edges"].normal[rows[again], 0] > 0
    part[upper, 3] -= 0.5 * height[again][upper, 0]
    grown = 0.25 * height[again][~upper] * np.array([[-0.5, -1.0, 0.5, 1.0]])
    part[~upper] += grown
    weaker = np.minimum(scores[again], model.weak_mean + model.weak_sd * lasting["edges"].normal[rows[again], 1])
    return np.concatenate([boxes[found], part]), np.concatenate([scores[found], weaker]), hidden < 0.9


def _merged(
    boxes: FloatArray, found: BoolArray, chance: FloatArray, model: DetectorModel
) -> tuple[FloatArray, BoolArray]:
    """Put one box over two people who overlap much, for some of the time."""
    boxes, found = boxes.copy(), found.copy()
    for a, b in np.argwhere(np.triu(iou_matrix(boxes, boxes) >= _MERGED_IOU, k=1)):
        if found[a] and found[b] and chance[a, b] < _quantile(model.merged):
            boxes[a] = np.concatenate([np.minimum(boxes[a, :2], boxes[b, :2]), np.maximum(boxes[a, 2:], boxes[b, 2:])])
            found[b] = False
    return boxes, found


def _hidden_parts(bbox: FloatArray) -> FloatArray:
    """Return which (N,) part of each box the most covering nearer person, whose foot is lower, covers."""
    if len(bbox) == 0:
        return np.zeros(0)
    shared = shared_area(bbox[:, None], bbox[None])
    nearer = bbox[None, :, 3] > bbox[:, None, 3]
    area = (bbox[:, 2:] - bbox[:, :2]).prod(axis=1)
    hidden: FloatArray = (shared * nearer).max(axis=1) / np.maximum(area, 1e-9)
    return hidden


def _things(scene: Scene, count: int, generator: np.random.Generator) -> FloatArray:
    """Return (count, 4) boxes of things of a person's size."""
    return _boxes_at(scene, scene.region_m[generator.integers(len(scene.region_m), size=count)], generator)


def _boxes_at(scene: Scene, place_m: FloatArray, generator: np.random.Generator) -> FloatArray:
    tall_m = generator.uniform(1.2, 2.0, len(place_m))
    feet = scene.camera.ground_to_image(place_m)
    heads = scene.camera.world_to_image(np.column_stack([place_m, tall_m]))
    half = 0.2 * (feet[:, 1] - heads[:, 1])
    return np.column_stack([feet[:, 0] - half, heads[:, 1], feet[:, 0] + half, feet[:, 1]])


class _Flicker:
    """False boxes that last a moment."""

    def __init__(self, scene: Scene, model: DetectorModel, generator: np.random.Generator) -> None:
        self._scene, self._model, self._generator = scene, model, generator
        self._boxes, self._left = np.zeros((0, 4)), np.zeros(0, np.int64)

    def next(self) -> tuple[FloatArray, FloatArray]:
        """Return the boxes of one frame and their scores."""
        self._left = self._left - 1
        self._boxes, self._left = self._boxes[self._left > 0], self._left[self._left > 0]
        count = self._generator.poisson(self._model.flicker)
        region = self._scene.region_m
        fresh = _boxes_at(self._scene, region[self._generator.integers(len(region), size=count)], self._generator)
        self._boxes = np.concatenate([self._boxes, fresh])
        self._left = np.concatenate([self._left, self._generator.geometric(0.5, count)])
        scores = self._generator.normal(self._model.weak_mean, self._model.weak_sd, len(self._boxes))
        return self._boxes, scores


def _suppressed(bbox: FloatArray, score: FloatArray) -> Detections:
    """Leave out weak boxes, and of those that overlap much the less sure ones."""
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= _LEAST_SCORE]
    bbox, score = bbox[order], score[order]
    overlap = iou_matrix(bbox, bbox) > _SUPPRESSED_IOU
    keep = np.ones(len(score), np.bool_)
    for row in range(len(score)):
        if keep[row]:
            keep[row + 1 :] &= ~overlap[row, row + 1 :]
    return Detections(bbox[keep].astype(np.float32), score[keep].astype(np.float32))


def _quantile(part: float | FloatArray) -> FloatArray:
    """Return the value under which a standard normal variable is for this part of the time."""
    from scipy.special import ndtri  # noqa: PLC0415

    return np.asarray(ndtri(np.clip(part, 1e-9, 1 - 1e-9)))

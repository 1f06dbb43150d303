"""Batches for training: a pure function of seed and step, so that a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_app.records import FloatArray
from training.data.augment import Augmentation, compose
from training.data.pictures import Example
from training.model.matcher import match


@dataclass(frozen=True)
class BatchOptions:
    """Size and thresholds of the batches, and the pixel value that the network takes as zero."""

    batch_size: int
    image_size: int
    seed: int
    matched: float
    unmatched: float
    zero_point: float


def drawer(sets: list[tuple[list[Example], float]], rng: np.random.Generator) -> Callable[[], Example]:
    """Return a function that draws a random example: a set by its weight, then a picture of it."""
    weights = np.array([weight for _, weight in sets])
    chances = weights / weights.sum()

    def draw() -> Example:
        examples = sets[rng.choice(len(sets), p=chances)][0]
        return examples[rng.integers(len(examples))]

    return draw


class Batches:
    """Batch ``k`` of a run: inputs (batch, size, size, 3) and the targets of every anchor."""

    def __init__(
        self,
        sets: list[tuple[list[Example], float]],
        anchors: FloatArray,
        augmentation: Augmentation,
        options: BatchOptions,
    ) -> None:
        """Draw from ``sets``, examples with their weights."""
        self._sets = sets
        self._anchors = anchors
        self._augmentation = augmentation
        self._options = options

    def batch(self, step: int) -> tuple[Any, Any]:
        """Make the batch of a step."""
        options = self._options
        rng = np.random.default_rng([options.seed, step])
        draw = drawer(self._sets, rng)
        pixels, targets = [], []
        for _ in range(options.batch_size):
            image, people, ignored = compose(draw, options.image_size, self._augmentation, rng)
            pixels.append((image.astype(np.float32) - options.zero_point) / 127.5)
            targets.append(match(people, ignored, self._anchors, matched=options.matched, unmatched=options.unmatched))
        return np.stack(pixels), {
            "boxes": np.stack([target.boxes for target in targets]),
            "person": np.stack([target.person for target in targets]),
            "weight": np.stack([target.weight for target in targets]),
        }

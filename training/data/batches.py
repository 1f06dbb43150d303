"""Batches for training: a pure function of seed and step, so that a resumed run sees what it would have seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Optional

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.records import FloatArray
from training.data.augment import Augmentation, compose
from training.data.paste import Cutout, cut_out_all, know_cutouts
from training.data.pictures import Example, keep_decoded
from training.model.matcher import match

# Batches that are on their way for each process that makes them.
_AHEAD = 2


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

    @property
    def examples(self) -> list[Example]:
        """All examples of all sets."""
        return [example for examples, _ in self._sets for example in examples]

    def batch(self, step: int) -> tuple[Any, Any]:
        """Make the batch of a step."""
        pixels, targets = self.raw(step)
        return (pixels.astype(np.float32) - np.float32(self._options.zero_point)) / np.float32(127.5), targets

    def raw(self, step: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
        """Make the batch of a step, its pixels as they are in pictures: a quarter of the bytes."""
        options = self._options
        rng = np.random.default_rng([options.seed, step])
        draw = drawer(self._sets, rng)
        pixels, targets = [], []
        for _ in range(options.batch_size):
            image, people, ignored = compose(draw, options.image_size, self._augmentation, rng)
            pixels.append(image)
            targets.append(match(people, ignored, self._anchors, matched=options.matched, unmatched=options.unmatched))
        return np.stack(pixels), {
            "boxes": np.stack([target.boxes for target in targets]),
            "person": np.stack([target.person for target in targets]),
            "weight": np.stack([target.weight for target in targets]),
        }

    def stream(self, start: int, end: int, workers: int = 0, cached_pictures: int = 0) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of the steps from ``start`` up to ``end``.

        Args:
            start, end: steps.
            workers: processes that make them; 0 for none but this one. The batches are the same.
            cached_pictures: decoded pictures that each process keeps.
        """
        if workers == 0:
            keep_decoded(cached_pictures)
            yield from (self.batch(step) for step in range(start, end))
            return
        zero = np.float32(self._options.zero_point)
        context = get_context("spawn")
        cutouts: list[list[Optional[Cutout]]] = []
        if self._augmentation.scenes:
            # Once for all, or every process would look for the same outlines.
            with ProcessPoolExecutor(workers, context) as pool:
                cutouts = list(pool.map(cut_out_all, self.examples, chunksize=8))
        with ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(self, cached_pictures, cutouts)
        ) as pool:
            ahead: deque[Future[Any]] = deque()
            for step in range(start, end):
                while len(ahead) < _AHEAD * workers and step + len(ahead) < end:
                    ahead.append(pool.submit(_make, step + len(ahead)))
                pixels, targets = ahead.popleft().result()
                yield (pixels.astype(np.float32) - zero) / np.float32(127.5), targets


_worker: list[Batches] = []


def _start_worker(batches: Batches, cached_pictures: int, cutouts: list[list[Optional[Cutout]]]) -> None:
    cv2.setNumThreads(1)
    keep_decoded(cached_pictures)
    know_cutouts(batches.examples, cutouts)
    _worker[:] = [batches]


def _make(step: int) -> tuple[Any, Any]:
    return _worker[0].raw(step)

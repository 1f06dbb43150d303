"""What simulated people look like to the device: two colours each, before a patchy background, with noise.

There are no pictures. For each box a few points are looked at, and each shows whoever of the people there is nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.records import FloatArray
from edge_app.tracking.appearance import describe
from training.simulation.scenes import SeenFrame

# Size of the picture that is made of a box, and the part of a box's width that its person fills.
_HEIGHT, _WIDTH = 32, 12
_BODY = 0.7
# Garments are grey or coloured; this part of them is coloured, by up to so much.
_COLOURED, _CHROMA = 0.4, 60.0
# Folds and shadows within a garment, and noise: grey levels.
_UNEVEN = 18.0
# The background changes every so many pixels.
_PATCH_PX = 40
_PATCHES = 64


@dataclass(frozen=True)
class Looks:
    """Colours of all people and of the background.

    Attributes:
        clothes: (P, 2, 3) upper and lower garment of each person, BGR.
        background: (K, K, 3) BGR, repeated over the picture.
        generator: of noise.
    """

    clothes: FloatArray
    background: FloatArray
    generator: np.random.Generator

    @staticmethod
    def draw(people: int, generator: np.random.Generator) -> Looks:
        """Dress people and lay out a background."""
        return Looks(_colours((people, 2), generator), _colours((_PATCHES, _PATCHES), generator), generator)

    def describe(self, frame: SeenFrame, bbox: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, D) what the device's own description says of (N, 4) boxes.

        Args:
            frame: who stands where.
            bbox: pixels xyxy.
        """
        left, top, right, bottom = bbox.astype(np.float64).T[:, :, None, None]
        x = left + (right - left) * (np.arange(_WIDTH) + 0.5) / _WIDTH
        y = top + (bottom - top) * ((np.arange(_HEIGHT) + 0.5) / _HEIGHT)[:, None]
        x, y = np.broadcast_arrays(x, y)
        patch = (np.stack([y, x]) / _PATCH_PX).astype(np.int64) % _PATCHES
        colour = self.background[patch[0], patch[1]]
        exact = frame.exact_bbox
        for row in np.argsort(exact[:, 3]):
            person_left, person_top, person_right, person_bottom = exact[row]
            middle, half = (person_left + person_right) / 2, _BODY * (person_right - person_left) / 2
            shown = (np.abs(x - middle) < half) & (y >= person_top) & (y < person_bottom)
            is_lower = (y > (person_top + person_bottom) / 2).astype(np.int64)
            colour = np.where(shown[..., None], self.clothes[frame.tracks.id[row] - 1][is_lower], colour)
        colour = colour + self.generator.normal(0, _UNEVEN, (*x.shape, 1))
        strip = np.concatenate([*np.clip(colour, 0, 255).astype(np.uint8)], axis=1) if len(bbox) else _NOTHING
        places = np.arange(len(bbox), dtype=np.float32)[:, None] * [_WIDTH, 0, _WIDTH, 0] + [0, 0, _WIDTH, _HEIGHT]
        return describe(strip, places.astype(np.float32))


_NOTHING = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)


def _colours(shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    """Return (..., 3) BGR."""
    grey = generator.uniform(20, 220, (*shape, 1))
    chroma = generator.uniform(-_CHROMA, _CHROMA, (*shape, 3))
    coloured = generator.random((*shape, 1)) < _COLOURED
    return np.clip(grey + np.where(coloured, chroma, 0.0), 0, 255)

"""Splits pictures into training and validation so that neither knows the other: by scene, else by a gap in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.prepare.checks import CheckedPicture

# Difference hashes this near are the same view for a network.
_NEAR_BITS = 4
# Part of the pictures of a single scene that are left out between training and validation.
_GAP = 0.05


def split_pictures(
    pictures: Sequence[CheckedPicture], validation: float, seed: int
) -> tuple[list[CheckedPicture], list[CheckedPicture], int]:
    """Split pictures.

    Whole scenes go to validation until it holds about the wanted part. With one scene only, its last part is validation
    and the pictures just before it are left out. Training pictures that look like a validation picture are left out.

    Args:
        pictures: in order of time within each scene.
        validation: part of the pictures that is wanted for validation, 0 to 0.5.
        seed: of the choice of scenes.

    Returns:
        Training pictures, validation pictures, and how many were left out as gap or near duplicates.
    """
    scenes = sorted({picture.scene for picture in pictures})
    wanted = round(validation * len(pictures))
    if wanted == 0:
        return list(pictures), [], 0
    if len(scenes) == 1:
        first = len(pictures) - wanted
        gap = max(1, round(_GAP * len(pictures)))
        train, held_out = list(pictures[: max(0, first - gap)]), list(pictures[first:])
    else:
        chosen = _choose_scenes(pictures, scenes, wanted, seed)
        train = [picture for picture in pictures if picture.scene not in chosen]
        held_out = [picture for picture in pictures if picture.scene in chosen]
    clean = _without_near_duplicates(train, held_out)
    return clean, held_out, len(pictures) - len(clean) - len(held_out)


def _choose_scenes(pictures: Sequence[CheckedPicture], scenes: list[str], wanted: int, seed: int) -> set[str]:
    """Take scenes in random order while they bring validation nearer to its size; at least one, never all."""
    sizes = {scene: sum(picture.scene == scene for picture in pictures) for scene in scenes}
    order = [scenes[index] for index in np.random.default_rng(seed).permutation(len(scenes))]
    chosen: set[str] = set()
    count = 0
    for scene in order[:-1]:
        if not chosen or abs(count + sizes[scene] - wanted) < abs(count - wanted):
            chosen.add(scene)
            count += sizes[scene]
    return chosen


def _without_near_duplicates(train: list[CheckedPicture], held_out: list[CheckedPicture]) -> list[CheckedPicture]:
    if not train or not held_out:
        return train
    ours = np.array([picture.fingerprint for picture in train], np.uint64)
    theirs = np.array([picture.fingerprint for picture in held_out], np.uint64)
    near = np.zeros(len(train), np.bool_)
    for fingerprint in theirs:
        bits = np.unpackbits((ours ^ fingerprint).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        near |= bits <= _NEAR_BITS
    return [picture for picture, is_near in zip(train, near) if not is_near]

"""Since when each track has been where it is, and whether it has shown by anything that it is alive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_app.evidence import log_odds
from edge_app.records import BoolArray, FloatArray, IntArray, Tracks

# Whoever went so far from where the track began, in parts of the height, is a person.
_LEFT_PLACE = 0.5
# Of people who stood at a table (five, 60 s of the one-by-one demonstration video, at three sizes) half had not changed
# visibly within 2 s, a fifth within 3 s, a tenth within 4 s: as if changes came by chance, one in 2 s at the least.
_FIRST_CHANGE_S = 2.0
# Looks come every quarter of a second, and whoever walks changes the picture within two.
_AT_LEAST_S = 0.5
# A mean over so many detections at most, so that it follows.
_SCORES = 20
# A track may not be shown for some time, while the detector is unsure of it, and go on under its id.
_KEPT_S = 10.0


@dataclass
class _Stay:
    """Where and when a track began, pixels and seconds; its mean score over a number of detections."""

    x: float
    y: float
    began_s: float
    last_s: float
    score: float
    scores: int = 0
    has_left: bool = False
    is_alive: bool = False


@dataclass
class Stays:
    """Follows all tracks."""

    _of: dict[int, _Stay] = field(default_factory=dict)

    def follow(self, time_s: float, tracks: Tracks) -> BoolArray:
        """Take the tracks of a frame; returns (N,) which have left the place where they began."""
        self._of = {track: stay for track, stay in self._of.items() if time_s - stay.last_s <= _KEPT_S}
        walks = np.zeros(len(tracks), np.bool_)
        feet, scores = tracks.foot.tolist(), tracks.score.tolist()
        reach = (_LEFT_PLACE * (tracks.bbox[:, 3] - tracks.bbox[:, 1])).tolist()
        rows = zip(tracks.id.tolist(), feet, scores, reach, tracks.observed.tolist())
        for row, (track, (x, y), score, far, seen) in enumerate(rows):
            stay = self._of.get(track) or _Stay(x, y, time_s, time_s, score)
            stay.last_s = time_s
            walks[row] = stay.has_left = stay.has_left or (x - stay.x) ** 2 + (y - stay.y) ** 2 > far * far
            if seen:
                stay.scores = min(stay.scores + 1, _SCORES)
                stay.score += (score - stay.score) / stay.scores
            self._of[track] = stay
        return walks

    def __getitem__(self, track: int) -> _Stay:
        return self._of[track]

    def begin_again(self, track: int, foot: FloatArray) -> None:
        """Let a track begin where it is now."""
        stay = self._of[track]
        stay.x, stay.y = foot.tolist()
        stay.has_left = False

    def began_s(self, tracks: IntArray) -> FloatArray:
        """Return (K,) when tracks were seen first."""
        return np.array([self._of[track].began_s for track in tracks.tolist()])

    def unproven(self, tracks: IntArray, changed_s: FloatArray, still_s: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Tell which of K tracks may be things for all that is known: nothing about them has ever moved or changed.

        The surer the detector, the longer somebody may keep still: until it would be more likely that this is a thing.

        Args:
            tracks: (K,) ids of tracks that have not left their places.
            changed_s: (K,) when the picture there changed last.
            still_s: (K,) for how long it has not.

        Returns:
            (K,) nothing has ever moved or changed, and (K,) that for so long that it is more likely a thing.
        """
        stays = [self._of[track] for track in tracks.tolist()]
        for stay, changed in zip(stays, changed_s.tolist()):
            stay.is_alive = stay.is_alive or changed > stay.began_s
        score = np.array([stay.score for stay in stays], np.float64)
        allowed_s = np.maximum(_AT_LEAST_S, _FIRST_CHANGE_S * log_odds(score))
        unmoved = ~self.are_alive(tracks)
        return unmoved, unmoved & (still_s >= allowed_s)

    def are_alive(self, tracks: IntArray) -> BoolArray:
        """Tell of which of K tracks the picture has changed visibly, in place."""
        return np.array([self._of[track].is_alive for track in tracks.tolist()], np.bool_)

    def clear(self) -> None:
        """Forget all."""
        self._of.clear()

    def state(self) -> list[list[Any]]:
        """Return all that is needed to go on later, as JSON values."""
        return [[track, *vars(stay).values()] for track, stay in self._of.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from what ``state`` returned."""
        self._of = {row[0]: _Stay(*row[1:]) for row in state}

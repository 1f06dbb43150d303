"""Compares what ``analyze`` wrote on two machines."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.box_overlap import iou_matrix
from training.runtimes.same_boxes import LEAST_IOU, MOST_SCORE


@dataclass(frozen=True)
class Comparison:
    """Rows of two ``tracks.txt``.

    Attributes:
        rows: of either file.
        same: rows of the first that have one in the same frame of the second with the same track, box and score.
        identical: the files are equal byte by byte.
    """

    rows: tuple[int, int]
    same: int
    identical: bool

    def sentence(self) -> str:
        """Return it in words."""
        if self.identical:
            return f"{self.rows[0]} track rows, equal byte by byte"
        return (
            f"{self.rows[0]} and {self.rows[1]} track rows, {self.same} the same (IoU ≥ {LEAST_IOU}, scores within "
            f"{MOST_SCORE:.4f}, whatever the track's number)"
        )


def compare_tracks(first: Path, second: Path) -> Comparison:
    """Compare the tracks of two folders of results."""
    contents = [(folder / "tracks.txt").read_bytes() for folder in (first, second)]
    rows = [np.array(list(csv.reader(content.decode().splitlines())), float) for content in contents]
    same = 0
    for row in rows[0]:
        others = rows[1][rows[1][:, 0] == row[0]]
        if len(others):
            overlaps = iou_matrix(_corners(row[None]), _corners(others))[0]
            best = int(overlaps.argmax())
            same += bool(overlaps[best] >= LEAST_IOU and abs(others[best, 6] - row[6]) <= MOST_SCORE)
    return Comparison((len(rows[0]), len(rows[1])), same, contents[0] == contents[1])


def _corners(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)

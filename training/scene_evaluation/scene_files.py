"""Reading what is compared: ground truth and tracks (MOTChallenge rows), regions without ground truth, the summary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.errors import UserError
from edge_app.records import BoolArray, FloatArray, IntArray
from training.evaluation.ignore_regions import IgnoreRegions, foot_rects_of

_COLUMNS = 10


@dataclass(frozen=True)
class SceneRows:
    """Boxes of people with their identity, all of length N, in the order of the file.

    Attributes:
        frame: (N,) int64, from 1.
        id: (N,) int64.
        bbox: (N, 4) float64, xyxy in continuous source pixels from 0 (MOTChallenge counts pixels from 1).
        score: (N,) float64; in ground truth 1 counts and 0 is to be ignored.
        xy_m: (N, 2) float64, metres on the ground; NaN without a position.
    """

    frame: IntArray
    id: IntArray
    bbox: FloatArray
    score: FloatArray
    xy_m: FloatArray

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, selection: BoolArray) -> SceneRows:
        return SceneRows(
            self.frame[selection], self.id[selection], self.bbox[selection], self.score[selection], self.xy_m[selection]
        )

    def excerpt(self, first: int, last: int) -> SceneRows:
        """Return the rows of frames ``first`` to ``last``, renumbered so that ``first`` becomes frame 1."""
        inside = self[(self.frame >= first) & (self.frame <= last)]
        return SceneRows(inside.frame - first + 1, inside.id, inside.bbox, inside.score, inside.xy_m)


def read_ground_truth(path: Path) -> SceneRows:
    """Read MOTChallenge ground truth with world x and y in columns 8 and 9, metres.

    Raises:
        UserError: the file is missing, malformed, or has no world coordinates.
    """
    table = _read_table(path, "ground truth")
    if len(table) == 0:
        raise UserError(f"ground truth {path} has no rows; give a MOTChallenge gt.txt")
    world = table[:, 7:9]
    if (world == -1).all():
        raise UserError(
            f"ground truth {path} has no world coordinates (columns 8 and 9 are all -1); give one with metres in them"
        )
    return _rows(table, world)


def read_tracks(path: Path) -> SceneRows:
    """Read ``tracks.txt`` as ``analyze`` writes it; x and y count where z is 0, since -1 can be a position too.

    Raises:
        UserError: the file is missing or malformed.
    """
    table = _read_table(path, "tracks")
    return _rows(table, np.where(table[:, 9:10] == 0, table[:, 7:9], np.nan))


def read_ignore_regions(path: Path) -> IgnoreRegions:
    """Read ``ignore_rects_foot`` and the picture's size from COCO JSON.

    Raises:
        UserError: the file is missing, not JSON, or does not say where people are left out.
    """
    content = _read_json(path, "labels")
    try:
        rects = foot_rects_of(content["ignore_rects_foot"])
        image = content["images"][0]
        return IgnoreRegions(rects, int(image["width"]), int(image["height"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"labels {path} do not say where people are left out ({error!r}); "
            "give COCO JSON with 'images' and 'ignore_rects_foot' ([x, y, width, height])"
        ) from error


def read_summary(tracks_path: Path) -> Optional[dict[str, Any]]:
    """Return ``summary.json`` beside the tracks, or None where there is none."""
    path = tracks_path.parent / "summary.json"
    return _read_json(path, "summary") if path.is_file() else None


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be read as JSON ({error}); give a JSON file") from error
    if not isinstance(content, dict):
        raise UserError(f"{what} {path} is not a JSON object; give the file as it was written")
    return content


def _read_table(path: Path, what: str) -> FloatArray:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path} cannot be read ({error}); give a MOTChallenge text file") from error
    table = np.zeros((len(lines), _COLUMNS))
    for number, line in enumerate(lines, start=1):
        try:
            table[number - 1] = [float(value) for value in line.split(",")]
        except ValueError as error:
            raise UserError(
                f"{what} {path}, row {number}: not {_COLUMNS} numbers (frame,id,left,top,width,height,conf,x,y,z); "
                "give a MOTChallenge file with world coordinates"
            ) from error
    _check(table, f"{what} {path}")
    return table


def _check(table: FloatArray, name: str) -> None:
    if not np.isfinite(table).all():
        raise UserError(f"{name} has values that are not finite numbers; write the file again")
    keys = table[:, :2]
    if (keys != np.round(keys)).any() or (keys[:, 0] < 1).any():
        raise UserError(f"{name} has frames or identities that are not whole numbers from 1; write the file again")
    if (table[:, 4:6] <= 0).any():
        raise UserError(f"{name} has boxes without width or height; write the file again")
    if len(np.unique(keys, axis=0)) != len(keys):
        raise UserError(f"{name} has an identity twice in one frame; write the file again")


def _rows(table: FloatArray, xy_m: FloatArray) -> SceneRows:
    top_left = table[:, 2:4] - 1.0
    bbox = np.hstack([top_left, top_left + table[:, 4:6]])
    return SceneRows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), bbox, table[:, 6], xy_m)

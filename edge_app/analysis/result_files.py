"""The machine-readable results of an analysis: tracks.txt, pairs.csv and events.csv."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Optional

import numpy as np

from edge_app.records import FrameResult, ViolationEvent

_HEADERS = {
    "tracks.txt": "",
    "pairs.csv": "frame,time_s,id_a,id_b,distance_m,sigma_m,p_violation,same_group\n",
    "events.csv": "event_id,id_a,id_b,start_s,end_s,duration_s,min_distance_m,mean_distance_m,same_group\n",
}
FILE_NAMES = tuple(_HEADERS)


def can_go_on(folder: Path, offsets: dict[str, int]) -> bool:
    """Tell whether the files of an interrupted run are still there, at least as long as its checkpoint says."""
    paths = [folder / name for name in FILE_NAMES]
    return all(path.is_file() and path.stat().st_size >= offsets[path.name] for path in paths)


class ResultFiles:
    """Writes rows as frames come, and can go on where an interrupted run stopped.

    Formats are the contract of the product: ``tracks.txt`` has MOTChallenge rows ``frame, id, left, top, width, height,
    conf, x, y, z`` with frames and pixels counted from 1 as MOTChallenge does, ``x, y`` metres on the ground and ``z``
    0, or all three -1 without a position.
    """

    def __init__(self, folder: Path, offsets: Optional[dict[str, int]] = None) -> None:
        """Open the files.

        Args:
            folder: where they lie.
            offsets: bytes of each file that are valid (from ``offsets()`` of the interrupted run); None starts anew.
        """
        self._files: dict[str, IO[str]] = {}
        for name, header in _HEADERS.items():
            path = folder / name
            if offsets is None:
                path.write_text(header, encoding="ascii")
            else:
                with path.open("r+b") as stream:
                    stream.truncate(offsets[name])
            self._files[name] = path.open("a", encoding="ascii", newline="\n")

    def write(self, result: FrameResult) -> None:
        """Append the rows of one frame."""
        self._write_tracks(result)
        self._write_pairs(result)
        self.write_events(result.closed_events)

    def write_events(self, events: tuple[ViolationEvent, ...]) -> None:
        """Append closed events."""
        for event in events:
            self._files["events.csv"].write(
                f"{event.event_id},{event.id_a},{event.id_b},{event.start_s:.3f},{event.end_s:.3f},"
                f"{event.duration_s:.3f},{event.min_distance_m:.3f},{event.mean_distance_m:.3f},"
                f"{_flag(event.same_group)}\n"
            )

    def offsets(self) -> dict[str, int]:
        """Put everything on disk and return the length of each file in bytes."""
        for stream in self._files.values():
            stream.flush()
            os.fsync(stream.fileno())
        return {name: stream.tell() for name, stream in self._files.items()}

    def close(self) -> None:
        """Close the files."""
        for stream in self._files.values():
            stream.close()

    def _write_tracks(self, result: FrameResult) -> None:
        tracks, ground = result.tracks, result.ground
        rows = np.flatnonzero(tracks.present)
        if len(rows) == 0:
            return
        boxes = tracks.bbox[rows].tolist()
        positions = ground.xy_m[rows].tolist()
        valid = ground.valid[rows].tolist()
        lines = []
        for track_id, score, box, xy, has_position in zip(
            tracks.id[rows].tolist(), tracks.score[rows].tolist(), boxes, positions, valid
        ):
            left, top, right, bottom = box
            place = f"{xy[0]:.3f},{xy[1]:.3f},0" if has_position else "-1,-1,-1"
            lines.append(
                f"{result.index + 1},{track_id},{left + 1:.2f},{top + 1:.2f},{right - left:.2f},{bottom - top:.2f},"
                f"{score:.4f},{place}\n"
            )
        self._files["tracks.txt"].write("".join(lines))

    def _write_pairs(self, result: FrameResult) -> None:
        # Measured ones: where somebody is only expected to be, nothing was measured, and no event hears of it.
        pairs = result.pairs.between(result.tracks.id[result.tracks.observed])
        prefix = f"{result.index + 1},{result.time_s:.3f}"
        same_group = [None] * len(pairs) if pairs.same_group is None else pairs.same_group.tolist()
        lines = [
            f"{prefix},{id_a},{id_b},{distance_m:.3f},{sigma_m:.3f},{p_violation:.4f},{_flag(together)}\n"
            for id_a, id_b, distance_m, sigma_m, p_violation, together in zip(
                pairs.id_a.tolist(),
                pairs.id_b.tolist(),
                pairs.distance_m.tolist(),
                pairs.sigma_m.tolist(),
                pairs.p_violation.tolist(),
                same_group,
            )
        ]
        self._files["pairs.csv"].write("".join(lines))


def _flag(value: Optional[bool]) -> str:
    """Write a yes or no as 1 or 0, and what was not determined as nothing."""
    return "" if value is None else str(int(value))

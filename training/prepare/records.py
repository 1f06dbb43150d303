"""What every reader gives: labelled pictures, and the problems that were met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from edge_app.records import FloatArray


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and its people.

    Attributes:
        path: of the picture, or of the video that it is a frame of.
        frame: 1-based frame of the video; None for a picture file.
        scene: camera or sequence; pictures of one scene never fall on both sides of a split.
        time_s: seconds within the scene, None where unknown.
        boxes: (N, 4) x, y, width, height of people, pixels.
        ignored: (M, 4) regions in which people are not labelled, pixels.
    """

    path: Path
    scene: str
    boxes: FloatArray
    ignored: FloatArray
    frame: Optional[int] = None
    time_s: Optional[float] = None


@dataclass
class Problems:
    """What was wrong with the data: counted by kind, the first few told in full; nothing is dropped silently."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, where: str) -> None:
        """Count a problem of a kind at a place (file and record)."""
        self.counts[kind] += 1
        if self.counts[kind] <= 5:
            self.examples.append(f"{kind}: {where}")

    def __str__(self) -> str:
        if not self.counts:
            return "no problems"
        lines = [f"{count} x {kind}" for kind, count in sorted(self.counts.items())]
        return "\n".join([*lines, *(f"  {example}" for example in self.examples)])

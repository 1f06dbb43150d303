"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One sentence on one thing.

    Attributes:
        check: the thing, such as ``edge tpu``.
        level: ``error``: it does not work; ``warning``: it works badly or soon not; ``note``: worth knowing.
        sentence: what was found.
        fix: what to do; empty where there is nothing to do.
    """

    check: str
    level: Level
    sentence: str
    fix: str = ""


def ok(check: str, sentence: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, "ok", sentence)

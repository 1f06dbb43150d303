"""Small files in which the kernel tells figures; what is not there, or not readable, is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Optional


def read_text(path: Path) -> str:
    """Return the text of a file, empty if there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def read_number(path: Path) -> Optional[int]:
    """Return the whole number in a file, None if there is none."""
    text = read_text(path)
    return int(text) if text.lstrip("-").isdigit() else None

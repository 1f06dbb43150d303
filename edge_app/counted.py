"""Counts in sentences for people."""

from __future__ import annotations


def counted(count: int, one: str, several: str) -> str:
    """Write a count with what is counted: ``one`` after 1, else ``several``."""
    return f"{count} {one if count == 1 else several}"

"""Arrays of several parts in one file: each part's names begin with its own prefix."""

from __future__ import annotations

from typing import Any


def prefixed(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays under names that begin with ``prefix_``."""
    return {f"{prefix}_{name}": value for name, value in arrays.items()}


def named(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays whose names begin with ``prefix_``, under their names without it."""
    return {name[len(prefix) + 1 :]: value for name, value in arrays.items() if name.startswith(f"{prefix}_")}

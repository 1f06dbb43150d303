"""Where an analysis stands, on disk, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any, Optional

import numpy as np

_FILE = "checkpoint.npz"
# Changes whenever the pipeline has to remember something else.
_VERSION = 9


def fingerprint(parts: dict[str, Any]) -> str:
    """Return a hash of everything that the result depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def video_fingerprint(path: Path) -> str:
    """Return a hash of a video's size and its first and last MiB: cheap for hours of footage."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(1 << 20))
        stream.seek(max(0, size - (1 << 20)))
        digest.update(stream.read(1 << 20))
    return digest.hexdigest()


def save_checkpoint(folder: Path, key: str, values: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write a checkpoint in one step: after a crash there is the old one or the new one.

    Args:
        folder: of the unfinished analysis.
        key: fingerprint of what is analysed; a checkpoint with another key is not used.
        values: JSON values.
        arrays: NumPy arrays by name.
    """
    header = json.dumps({"version": _VERSION, "key": key, "values": values})
    temporary = folder / f"{_FILE}.new"
    with temporary.open("wb") as stream:
        np.savez(stream, header=np.frombuffer(header.encode(), np.uint8), **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / _FILE)


def has_checkpoint(folder: Path) -> bool:
    """Tell whether an unfinished analysis has got so far that it may go on."""
    return (folder / _FILE).is_file()


def load_checkpoint(folder: Path, key: str) -> Optional[tuple[dict[str, Any], dict[str, Any]]]:
    """Return values and arrays of a checkpoint that belongs to ``key``, or None where there is none to go on from."""
    try:
        with np.load(folder / _FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        return None
    if header.get("version") != _VERSION or header.get("key") != key:
        return None
    return header["values"], arrays

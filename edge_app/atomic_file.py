"""Writes a file so that a reader or a power cut finds the old one or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Optional


def write_atomically(path: Path, text: str, *, mode: Optional[int] = None, backup: Optional[Path] = None) -> None:
    """Replace a text file.

    Args:
        path: of the file; its folder exists.
        text: written as UTF-8.
        mode: permissions; default: those of the file that is replaced, else 0644.
        backup: where the file that is replaced is kept.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    if backup is not None and path.exists():
        write_atomically(backup, path.read_text(encoding="utf-8"), mode=mode)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

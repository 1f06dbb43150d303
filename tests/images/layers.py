"""Keeps roots as they are after a RUN, so that a build that starts the same way goes on from there, as engines do."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


class Layers:
    """Roots as tar files, found by the key of all that led to them.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """Return the root of a key; None if it was not kept."""
        path = self._folder / f"{key}.tar"
        if not path.is_file():
            return None
        self._used.add(path.name)
        return path

    def keep(self, key: str, root: Path) -> None:
        """Keep a root."""
        path, partial = self._folder / f"{key}.tar", self._folder / "partial"
        subprocess.run(["tar", "-C", str(root), "-cf", str(partial), "."], check=True)
        partial.rename(path)
        self._used.add(path.name)

    def forget_unused(self) -> None:
        """Remove what neither was found nor kept since the start."""
        for path in self._folder.iterdir():
            if path.name not in self._used:
                path.unlink()


def unpack(tar: Path, root: Path) -> None:
    """Make a root what a tar file holds, and nothing else."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(root), "-xf", str(tar)], check=True)


def chained(key: str, parts: Iterable[str]) -> str:
    """Return the key after one more step."""
    digest = hashlib.sha256(key.encode())
    for part in parts:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()[:32]


def content_of(path: Path) -> str:
    """Return a digest of a file, or of all names and files in a folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()

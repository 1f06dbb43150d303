"""Whose files are: what root writes for a service must be writable for the service's own user."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def handed_over(folder: Path) -> Iterator[None]:
    """Afterwards give what root has written in a folder to the owner and group of the folder above it.

    Raises:
        OSError: they cannot be given.
    """
    try:
        yield
    finally:
        owner = folder.parent.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            _give(folder, owner.st_uid, owner.st_gid)


def _give(folder: Path, uid: int, gid: int) -> None:
    """Change owner and group of a folder and of what root owns in it; links are neither followed nor given."""
    os.chown(folder, uid, gid, follow_symlinks=False)
    for _, folders, files, inside in os.fwalk(folder):
        for name in (*folders, *files):
            # The application may write its state meanwhile, and rename what was there.
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=inside, follow_symlinks=False)
                # A second name may be one of a file elsewhere.
                is_own = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
                if found.st_uid == 0 and is_own:
                    os.chown(name, uid, gid, dir_fd=inside, follow_symlinks=False)

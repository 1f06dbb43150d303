"""One writer at a time: a lock that the system releases when the process dies, however it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_app.errors import UserError


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the right to write the database at ``path``.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("w")
    except OSError as error:
        raise UserError(
            f"history {path} cannot be written ({error.strerror}); give a writable folder with storage.folder"
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"history {path} is in use by another process; stop it, or give another storage.folder"
            ) from error
        yield

"""One writer at a time: a lock that the system releases when the process dies, however it dies."""

from __future__ import annotations

import fcntl
import itertools
import time
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


def set_aside(database: Path, word: str) -> Path:
    """Rename a database with what belongs to it; return its new path, which has ``word`` and the time at its end."""
    name = f"{database.name}.{word}-{int(time.time())}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    aside = next(path for path in map(database.with_name, names) if not path.exists())
    # The log goes first: beside another database of the old name it would be played into that one.
    for ending in ("-wal", "-shm", ""):
        part = database.with_name(database.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    return aside


def damaged_sentence(error: object, aside: Path) -> str:
    """Say that a database was set aside."""
    return (
        f"history was damaged ({error}) and begins anew; the former one is {aside}: bring a backup back with "
        "'edge_app storage restore', or leave it"
    )

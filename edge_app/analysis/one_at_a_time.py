"""Keeps two programs from writing results into one folder at once."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_app.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(lock: Path, out: Path) -> Iterator[None]:
    """Hold a lock file, which is removed in the end. The system releases it however the process ends.

    Args:
        lock: the file; its folder exists. On a disk that knows no locks nothing is kept out.
        out: folder of the results, for messages.

    Raises:
        UserError: another process holds it.
    """
    with lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another analysis writes to {out}; wait until it is done, or give another --out"
            ) from error
        except OSError as error:
            log.info("%s can't be locked (%s)", out, error.strerror)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

"""Backup, restore and check of the history database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edge_app.errors import UserError
from edge_app.storage.lock import set_aside, writer_lock
from edge_app.storage.schema import SCHEMA_VERSION, open_for_writing

_PAGES = 256
_TABLES = ("event", "minute", "notice", "alert", "outbox")


def back_up(database: Path, target: Path) -> int:
    """Copy a database, also while it is written; the copy is of one moment, and there is a whole one or none.

    Returns:
        Size of the copy in bytes.

    Raises:
        UserError: there is no database, or the target cannot be written.
    """
    source = _open_existing(database, "ro")
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        copy = sqlite3.connect(unfinished)
        try:
            source.backup(copy, pages=_PAGES)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        _sync(unfinished)
        unfinished.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"backup {target} cannot be written ({error}); give another file or free space") from error
    finally:
        source.close()
    return target.stat().st_size


def restore(backup: Path, database: Path) -> Path:
    """Put a backup in the place of the database; what was there is kept beside it.

    Returns:
        Where the former database lies now; the path itself where there was none.

    Raises:
        UserError: the backup is damaged or too new, or the database is in use.
    """
    _check_backup(backup)
    with writer_lock(database):
        new = database.with_name(database.name + ".restoring")
        new.unlink(missing_ok=True)
        back_up(backup, new)
        kept = set_aside(database, "replaced") if database.exists() else database
        new.replace(database)
        _sync(database.parent)
        open_for_writing(database).close()
    return kept


def check(database: Path) -> dict[str, int]:
    """Check every page, index and constraint of a database.

    Returns:
        Number of rows of each table, and the schema's version.

    Raises:
        UserError: there is no database, or it is damaged.
    """
    connection = _open_existing(database, "ro")
    try:
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        if findings != ["ok"]:
            raise UserError(f"history {database} is damaged ({'; '.join(findings)}); bring back a backup with restore")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        counts = {
            table: int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
            for table in _TABLES
            if table in present
        }
    except sqlite3.DatabaseError as error:
        raise UserError(f"history {database} is damaged ({error}); bring back a backup with restore") from error
    finally:
        connection.close()
    return {"schema": version, **counts}


def _check_backup(backup: Path) -> None:
    found = check(backup)
    if "event" not in found:
        raise UserError(f"{backup} is no history; give a file that 'edge_app storage backup' wrote")
    if found["schema"] > SCHEMA_VERSION:
        raise UserError(
            f"{backup} has schema {found['schema']}, but this version knows {SCHEMA_VERSION}; install the newer version"
        )


def _open_existing(database: Path, mode: str) -> sqlite3.Connection:
    if not database.is_file():
        raise UserError(f"{database} does not exist; check the path")
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode={mode}", uri=True, timeout=10.0)


def _sync(path: Path) -> None:
    """Make sure that a file, or what a folder lists, outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

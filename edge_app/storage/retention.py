"""What goes when history grows too old or too large."""

from __future__ import annotations

import sqlite3

# Rows of one transaction: a few milliseconds, so that a commit of new rows never waits long.
_STEP = 2000
# Part of the rows that goes at once when the database is too large.
_SHARE = 0.05
_TIMES = {"event": "start_utc_s", "minute": "minute_utc_s", "notice": "utc_s", "alert": "utc_s"}


def delete_older(connection: sqlite3.Connection, cutoff_utc_s: float) -> int:
    """Delete rows from before ``cutoff_utc_s``, at most a few thousand; return how many went."""
    deleted = 0
    for table, column in _TIMES.items():
        deleted += connection.execute(
            f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} WHERE {column} < ? LIMIT {_STEP})",
            [cutoff_utc_s],
        ).rowcount
    return deleted


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the database without free pages."""
    size, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (pages - free)


def delete_oldest(connection: sqlite3.Connection) -> int:
    """Delete the twentieth part of each table that was stored first; return how many rows went.

    By order of storing, not by time: a clock that was wrong once must not decide what goes.
    """
    deleted = 0
    for table in _TIMES:
        first = connection.execute(f"SELECT MIN(seq) FROM {table}").fetchone()[0]
        last = connection.execute(f"SELECT MAX(seq) FROM {table}").fetchone()[0]
        if first is not None:
            until = first + int((last - first) * _SHARE)
            deleted += connection.execute(f"DELETE FROM {table} WHERE seq <= ?", [until]).rowcount
    return deleted


def trim_outbox(connection: sqlite3.Connection, most: int) -> int:
    """Delete the oldest messages above ``most``; return how many went: they are lost."""
    waiting = int(connection.execute("SELECT COUNT(*) FROM outbox").fetchone()[0])
    if waiting <= most:
        return 0
    return connection.execute(
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT ?)", [waiting - most]
    ).rowcount


def give_back(connection: sqlite3.Connection) -> None:
    """Give free pages back to the disk."""
    # Not execute(): that stops after the first page, since the statement has no columns.
    connection.executescript("PRAGMA incremental_vacuum")

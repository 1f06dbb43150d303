"""Kills a writing process again and again, and prints what history lost each time.

Run as ``python -m tests.edge_app.storage.killed_while_writing FOLDER ROUNDS COMMIT_S LONGEST_S``. Each round forks a
process that hands over numbered events for a random time and is then killed with SIGKILL; the rounds share the longest
time out among themselves, each has its part of it. The last number that was
handed over at each moment is kept in memory that both processes share.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import sys
import time
from pathlib import Path

from edge_app.storage import StorageConfig
from edge_app.storage.statements import add_event, put_minute
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.storage.made import event, minute

_SLOT = struct.Struct("d")
_MOST = 100_000


def write_until_killed(config: StorageConfig, round_number: int, handed_over: mmap.mmap) -> None:
    """Hand over one event after the other and note when; never returns."""
    number = 0
    writer = HistoryWriter(
        config, lambda: [put_minute(minute(round_number, watched_s=number, heat={(0, 0): number}), False)]
    )
    writer.start()
    while True:
        _SLOT.pack_into(handed_over, _SLOT.size * number, time.monotonic())
        writer.put([add_event(event(f"{round_number}-{number}", camera=f"round-{round_number}"))])
        number += 1
        time.sleep(0.0005)


def kill_once(config: StorageConfig, round_number: int, earliest_s: float, latest_s: float) -> float:
    """Kill at a random time after the first event was handed over; return how long before the kill the loss began."""
    handed_over = mmap.mmap(-1, _SLOT.size * _MOST)
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(config, round_number, handed_over)
        finally:
            os._exit(1)
    while _SLOT.unpack_from(handed_over)[0] == 0 and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    time.sleep(random.uniform(earliest_s, latest_s))
    os.kill(child, signal.SIGKILL)
    killed_s = time.monotonic()
    _, status = os.waitpid(child, 0)
    if os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"the writer ended by itself: {status}")
    times = [slot[0] for slot in _SLOT.iter_unpack(handed_over[:]) if slot[0] > 0]
    stored = numbers_stored(config.path, round_number)
    if stored != list(range(len(stored))):
        raise RuntimeError(f"round {round_number}: there are gaps or doubles in {stored}")
    return killed_s - times[len(stored)] if len(stored) < len(times) else 0.0


def numbers_stored(path: Path, round_number: int) -> list[int]:
    """Check the database from scratch and return the numbers of the events of a round, as stored."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        finding = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if finding != "ok":
            raise RuntimeError(f"round {round_number}: {finding}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone():
            return []
        rows = connection.execute("SELECT uid FROM event WHERE camera = ? ORDER BY seq", [f"round-{round_number}"])
        return [int(row[0].rsplit("-", 1)[1]) for row in rows]
    finally:
        connection.close()


def main() -> None:
    """Print the losses of all rounds as JSON."""
    folder, rounds, commit_s, longest_s = sys.argv[1:]
    config = StorageConfig(folder=Path(folder), min_free_mb=0, commit_s=float(commit_s))
    part_s = float(longest_s) / int(rounds)
    losses = [kill_once(config, number, number * part_s, (number + 1) * part_s) for number in range(int(rounds))]
    connection = sqlite3.connect(config.path)
    count, different = connection.execute("SELECT COUNT(*), COUNT(DISTINCT uid) FROM event").fetchone()
    print(json.dumps({"lost_s": losses, "events": count, "different": different}))


if __name__ == "__main__":
    main()

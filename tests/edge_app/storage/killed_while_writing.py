"""Kills a watching process again and again, and prints what history lost, and what is wrong with it.

Run as ``python -m tests.edge_app.storage.killed_while_writing FOLDER ROUNDS COMMIT_S LONGEST_S``. Each round forks a
process that takes frames as a live run does, for a random time, and is then killed with SIGKILL; the rounds share the
longest time out among themselves, each has its part of it. Each frame ends an event, all messages go to a webhook that
nobody answers. In even rounds minutes pass quickly, in odd ones a single one goes on. Two people stand too close in
every frame, so each figure of a minute is known. When each frame had been handed over is kept in memory that both
processes share.
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_app.config import Config
from edge_app.records import FrameResult, ViolationEvent
from edge_app.storage.rows import unpack_heat
from edge_app.storage.wiring import open_sinks
from tests.edge_app.storage.made import NOON, two_people

_SLOT = struct.Struct("d")
_MOST = 100_000
_MINUTE_S = 60
# Frame time from one frame to the next in even and odd rounds; sums of either are exact.
_STEPS_S = (2.0, 0.015625)
_NOBODY = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Loss:
    """What one kill cost.

    Attributes:
        frames: how many had been handed over.
        events_s, minutes_s: seconds from the handing over of the first frame whose event, or whose second of the
            minute, is not there, to the kill; 0 where everything is.
    """

    frames: int
    events_s: float
    minutes_s: float


def configuration(folder: Path, commit_s: float) -> Config:
    """Keep everything that happens in the outbox too."""
    webhook = {"url": _NOBODY, "send": ["event", "minute", "notice", "alert"]}
    return Config.model_validate(
        {
            "storage": {"folder": str(folder), "min_free_mb": 0, "commit_s": commit_s},
            "alerts": {"receivers": {"webhooks": [webhook]}},
        }
    )


def frames_of(round_number: int) -> Iterator[FrameResult]:
    """Yield frames without end; in the ids of its event each has its round and its number."""
    first = two_people()[-1]
    number = 0
    while True:
        time_s = number * _STEPS_S[round_number % 2]
        ended = ViolationEvent(number + 1, round_number, number, max(0.0, time_s - 3.0), time_s, 0.9, 1.1, None)
        yield replace(first, index=number, time_s=time_s, closed_events=(ended,))
        number += 1


def watch_until_killed(config: Config, round_number: int, handed_over: mmap.mmap) -> None:
    """Hand over one frame after the other and note when; never returns."""
    with open_sinks(config) as sinks:
        for result in frames_of(round_number):
            for sink in sinks:
                sink.accept(f"round-{round_number}", NOON + result.time_s, result)
            _SLOT.pack_into(handed_over, _SLOT.size * result.index, time.monotonic())
            time.sleep(0.0005)


def kill_once(config: Config, round_number: int, earliest_s: float, latest_s: float) -> Loss:
    """Kill at a random time after the first frame was handed over, and say what is lost."""
    handed_over = mmap.mmap(-1, _SLOT.size * _MOST)
    child = os.fork()
    if child == 0:
        try:
            watch_until_killed(config, round_number, handed_over)
        finally:
            os._exit(1)
    while _SLOT.unpack_from(handed_over)[0] == 0 and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    time.sleep(random.uniform(earliest_s, latest_s))
    os.kill(child, signal.SIGKILL)
    killed_s = time.monotonic()
    _, status = os.waitpid(child, 0)
    if os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"the watching process ended by itself: {status}")
    times = [slot[0] for slot in _SLOT.iter_unpack(handed_over[:]) if slot[0] > 0]

    def lost_s(stored: int) -> float:
        return killed_s - times[stored] if stored < len(times) else 0.0

    history = History(config.storage.path)
    events, frames = len(history.events(round_number)), history.frames_in_minutes(round_number)
    return Loss(len(times), lost_s(events), lost_s(frames))


class History:
    """The database as a stranger reads it, without anything being written or repaired."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row
        tables = {row["name"] for row in self._rows("SELECT name FROM sqlite_master")}
        # A process that is killed at once has not made them yet.
        self._is_made = {"event", "minute", "outbox"} <= tables

    def close(self) -> None:
        self._connection.close()

    def events(self, round_number: int) -> list[int]:
        """Return the numbers of a round's events, as stored."""
        rows = self._table("event", "camera = ?", f"round-{round_number}")
        return [row["id_b"] for row in rows if row["id_a"] == round_number]

    def frames_in_minutes(self, round_number: int) -> int:
        """Return how many frames a round's minutes sum up."""
        rows = self._table("minute", "camera = ?", f"round-{round_number}")
        return round(sum(row["watched_s"] for row in rows) / _STEPS_S[round_number % 2]) + 1 if rows else 0

    def counts(self) -> dict[str, int]:
        """Return the number of events, of minutes and of messages on either."""
        kinds = Counter(json.loads(row["payload"])["kind"] for row in self._table("outbox"))
        tables = {f"{name}s": len(self._table(name)) for name in ("event", "minute")}
        return {**tables, "messages_on_events": kinds["event"], "messages_on_minutes": kinds["minute"]}

    def findings(self) -> list[str]:
        """Return a sentence for each thing that a kill must not do."""
        try:
            found = [f"integrity: {row[0]}" for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
        except sqlite3.DatabaseError as error:
            return [f"integrity: {error}"]
        if found:
            return found
        events, minutes = self._table("event"), self._table("minute")
        messages = [(row["uid"], json.loads(row["payload"])) for row in self._table("outbox")]
        said = {kind: [(uid, m) for uid, m in messages if m["kind"] == kind] for kind in ("event", "minute")}
        found += _twice("event", [(row["id_a"], row["id_b"]) for row in events])
        found += _twice("minute", [(row["camera"], row["minute_utc_s"]) for row in minutes])
        found += _twice("message on an event", [(m["id_a"], m["id_b"]) for _, m in said["event"]])
        found += _twice("message on a minute", [(m["camera"], m["minute_utc_s"]) for _, m in said["minute"]])
        found += _unlike(
            "events", {(row["uid"], row["id_a"], row["id_b"]) for row in events},
            {(uid, m["id_a"], m["id_b"]) for uid, m in said["event"] if uid == m["id"]},
        )  # fmt: skip
        found += _unlike(
            "minutes", {(row["uid"], row["minute_utc_s"], row["watched_s"]) for row in minutes if row["closed"]},
            {(uid, m["minute_utc_s"], m["watched_s"]) for uid, m in said["minute"] if uid == m["id"]},
        )  # fmt: skip
        for camera in sorted({row["camera"] for row in (*events, *minutes)}):
            numbers = [row["id_b"] for row in events if row["camera"] == camera]
            if numbers != list(range(len(numbers))):
                found.append(f"{camera}: there are gaps among its events, or they are out of order")
            found += _wrong_minutes(camera, [row for row in minutes if row["camera"] == camera])
        return found

    def open_minutes(self) -> int:
        """Return how many minutes are still said to be running."""
        return len(self._table("minute", "closed = ?", 0))

    def _table(self, name: str, where: str = "1", *values: Any) -> list[sqlite3.Row]:
        return self._rows(f"SELECT * FROM {name} WHERE {where} ORDER BY seq", *values) if self._is_made else []

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()


def _twice(what: str, keys: list[tuple[Any, ...]]) -> list[str]:
    return [f"{what} {key} is there {count} times" for key, count in Counter(keys).items() if count > 1][:3]


def _unlike(what: str, stored: set[tuple[Any, ...]], told: set[tuple[Any, ...]]) -> list[str]:
    untold, unknown = sorted(stored - told)[:3], sorted(told - stored)[:3]
    return [
        *([f"{what} without their message: {untold}"] if untold else []),
        *([f"messages without their {what}: {unknown}"] if unknown else []),
    ]


def _wrong_minutes(camera: str, minutes: list[sqlite3.Row]) -> list[str]:
    """Compare a round's minutes with what two people who never move must give."""
    found = []
    for number, row in enumerate(minutes):
        seconds = row["watched_s"]
        if row["minute_utc_s"] != NOON + number * _MINUTE_S:
            found.append(f"{camera}: minute {number} begins at {row['minute_utc_s']}")
        is_last = number == len(minutes) - 1
        if not (0 <= seconds < _MINUTE_S if is_last else seconds == _MINUTE_S and row["closed"]):
            found.append(f"{camera}: minute {number} of {len(minutes)} has {seconds} s, closed: {row['closed']}")
        figures = [row[name] for name in ("people", "violating_people", "violating_pairs", "occupancy_max")]
        sums = [row[name] for name in ("person_s", "exposed_person_s", "violating_pair_s")]
        heat_s = sum(unpack_heat(row["heat"]).values())
        if (figures, sums, heat_s) != ([2, 2, 1, 2], [2 * seconds, 2 * seconds, seconds], 2 * seconds):
            found.append(f"{camera}: minute {number} of {seconds} s has {figures}, {sums}, heat {heat_s}")
    return found


def main() -> None:
    """Print losses, findings and counts as JSON."""
    folder, rounds, commit_s, longest_s = sys.argv[1:]
    config = configuration(Path(folder), float(commit_s))
    part_s = float(longest_s) / int(rounds)
    losses, findings = [], []
    for number in range(int(rounds)):
        losses.append(kill_once(config, number, number * part_s, (number + 1) * part_s))
        history = History(config.storage.path)
        findings += [f"after round {number}: {finding}" for finding in history.findings()]
        history.close()
    with open_sinks(config):  # the next start; it finishes what was left running
        pass
    history = History(config.storage.path)
    findings += [f"after the last start: {finding}" for finding in history.findings()]
    print(
        json.dumps(
            {
                "frames": [loss.frames for loss in losses],
                "lost_events_s": [round(loss.events_s, 4) for loss in losses],
                "lost_minutes_s": [round(loss.minutes_s, 4) for loss in losses],
                "findings": findings,
                "open_minutes": history.open_minutes(),
                **history.counts(),
            }
        )
    )


if __name__ == "__main__":
    main()

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import namedtuple

import pytest

from edge_app.delivery.messages import Message
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.errors import UserError
from edge_app.storage import StorageConfig, Store
from edge_app.storage.lock import set_aside
from edge_app.storage.rows import StoredAlert
from edge_app.storage.statements import Statement, add_alert, add_event, put_minute
from edge_app.storage.writer import STEADY_S, HistoryWriter
from tests.edge_app.storage.made import NOON, damage, event, minute

DAY_S = 86400.0


class Clock:
    """A wall clock and a monotonic one that go together until the first is set."""

    def __init__(self):
        self.now, self.offset = 1000.0, NOON

    def utc(self):
        return self.now + self.offset

    def monotonic(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def writer(config, clock):
    """A writer without its thread: tests say when it acts."""
    told = []
    made = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    made.told = told
    yield made
    if made.is_open:
        made.stop()


def totals(path):
    return Store(path).events().total


def test_rows_of_one_call_are_committed_together_or_not_at_all(writer):
    writer.put([add_event(event(1)), Statement("INSERT INTO nowhere VALUES (1)", ())])
    writer.tick()
    assert totals(writer.path) == 0
    assert "no such table" in writer.paused


def test_a_row_that_cannot_be_stored_does_not_hold_up_the_others(writer, caplog):
    writer.put([add_event(event(1, min_distance_m=float("nan"))), add_event(event(2, id_a=2**70)), add_event(event(3))])
    # A file's name that is no text stands so in a sentence.
    writer.put([add_event(event(4, camera="\udcff")), add_event(event(5))])
    writer.tick()
    assert [e.uid for e in Store(writer.path).events().events] == ["run-5", "run-3"]
    assert writer.lost == 3
    assert "a row was not stored" in caplog.text


def test_a_full_queue_counts_what_is_lost(config, clock):
    writer = HistoryWriter(config.model_copy(update={"queue": 10}), utc=clock.utc, monotonic=clock.monotonic)
    for number in range(25):
        writer.put([add_event(event(number))])
    writer.stop()
    assert totals(writer.path) == 10
    assert writer.lost == 15


def test_handing_over_does_not_wait_for_the_disk(writer):
    blocker = sqlite3.connect(writer.path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    since = time.perf_counter()
    writer.put(add_event(event(number)) for number in range(100))
    # The database waits five seconds for a lock.
    assert time.perf_counter() - since < 4.0
    blocker.execute("ROLLBACK")
    blocker.close()
    writer.tick()
    assert totals(writer.path) == 100


def test_writing_pauses_with_a_notice_while_the_disk_is_nearly_full_and_loses_nothing(config, clock, monkeypatch):
    free = 500
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, free << 20))
    told = []
    config = config.model_copy(update={"min_free_mb": 100})
    writer = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    for step, free in enumerate([500, 99, 50, 105, 120]):  # noqa: B007 - read by the lambda
        clock.now += 10
        writer.put([add_event(event(step))])
        writer.tick()
        assert totals(writer.path) == [1, 1, 1, 1, 5][step]
    assert [(n.kind, n.ok) for n in told] == [("storage", False), ("storage", True)]
    assert "99 MB are free" in told[0].sentence
    writer.stop()
    assert writer.lost == 0


def test_alerts_are_stored_and_leave_while_the_disk_is_nearly_full(config, clock, monkeypatch):
    free = 50
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, free << 20))
    config = config.model_copy(update={"min_free_mb": 100, "queue": 10})
    writer = HistoryWriter(config, utc=clock.utc, monotonic=clock.monotonic)
    outbox = Outbox(writer.path, writer.put)
    for number in range(20):
        writer.put([add_event(event(number))])
    channel = Channel("hook", frozenset({"alert", "event"}))
    told = StoredAlert("a1-firing", "a1", "full", "storage", "", "firing", "the disk is nearly full", NOON)
    message = Message("alert", "", "a1-firing", "{}")
    writer.put([add_alert(told), *put_messages([channel], [message])])
    writer.tick()
    assert writer.paused is not None
    assert totals(writer.path) == 0
    assert Store(writer.path).alerts() == [told]
    (waiting,) = outbox.waiting("hook", 0, 9)
    outbox.delivered([waiting.seq])
    writer.tick()
    assert outbox.waiting("hook", 0, 9) == []
    free = 500
    clock.now += 10
    writer.tick()
    assert totals(writer.path) == 10
    assert writer.lost == 10
    writer.stop()


def test_a_database_that_is_damaged_while_it_is_written_is_set_aside_and_begun_anew(config, clock):
    told = []
    writer = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    outbox = Outbox(writer.path, writer.put)
    channel = Channel("hook", frozenset({"event"}))
    writer.put(add_event(event(number)) for number in range(300))
    writer.put(put_messages([channel], [Message("event", "", "before", "{}")]))
    writer.tick()
    (before,) = outbox.waiting("hook", 0, 9)
    damage(writer, "event")
    writer.put([add_event(event(1000)), *put_messages([channel], [Message("event", "", "after", "{}")])])
    for _ in range(2):
        clock.now += 10
        writer.tick()
    assert [(n.kind, n.ok) for n in told] == [("storage", False)]
    assert "history was damaged" in told[0].sentence
    assert [e.uid for e in Store(config.path).events().events] == ["run-1000"]
    # A sender goes on after what it has sent.
    assert [message.uid for message in outbox.waiting("hook", before.seq, 9)] == ["after"]
    assert len(list(config.folder.glob("history.sqlite.damaged-*"))) >= 1
    writer.stop()
    assert writer.lost == 0


def test_a_database_that_cannot_be_begun_anew_is_tried_again_and_the_fault_ends(config, clock, monkeypatch):
    told = []
    writer = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    writer.put(add_event(event(number)) for number in range(300))
    writer.tick()
    damage(writer, "event")

    def refuse(path):
        raise UserError("the disk is full")

    monkeypatch.setattr("edge_app.storage.writer.open_for_writing", refuse)
    writer.put([add_event(event(1000))])
    for _ in range(3):
        clock.now += 10
        writer.tick()
    assert "can't be begun anew: the disk is full" in writer.paused
    monkeypatch.undo()
    for _ in range(2):
        clock.now += 10
        writer.tick()
    assert totals(config.path) == 1
    assert writer.paused is None
    clock.now += 500
    writer.tick()
    # Shown for long enough that a rule can tell it.
    assert "begins anew" in told[-1].sentence
    clock.now += 200
    writer.tick()
    assert told[-1].ok
    writer.stop()


def test_a_damage_of_before_is_not_told_to_be_over_while_the_disk_is_nearly_full(config, clock, monkeypatch):
    told = []
    config = config.model_copy(update={"min_free_mb": 100})
    writer = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    writer.tell_damage("history was damaged and begins anew")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 50 << 20))
    for passed_s in (10, 700):
        clock.now += passed_s
        writer.tick()
    assert [notice.ok for notice in told] == [False, False]
    monkeypatch.undo()
    clock.now += 10
    writer.tick()
    assert [notice.ok for notice in told] == [False, False, True]
    writer.stop()


def test_what_a_reader_finds_while_a_damaged_database_is_set_aside_is_no_damage_of_the_new_one(
    config, clock, monkeypatch
):
    writer = HistoryWriter(config, utc=clock.utc, monotonic=clock.monotonic)
    writer.put(add_event(event(number)) for number in range(300))
    writer.tick()
    damage(writer, "event")

    def set_aside_late(path, word):
        writer.report_damage(sqlite3.DatabaseError("database disk image is malformed"))
        return set_aside(path, word)

    monkeypatch.setattr("edge_app.storage.writer.set_aside", set_aside_late)
    writer.put([add_event(event(1000))])
    for _ in range(3):
        clock.now += 10
        writer.tick()
    assert [e.uid for e in Store(config.path).events().events] == ["run-1000"]
    assert len([path for path in config.folder.glob("*.damaged-*") if path.suffix[-4:] not in ("-wal", "-shm")]) == 1
    writer.stop()


def test_damage_that_a_reader_finds_is_mended_and_damage_in_the_last_moment_loses_nothing(config, clock):
    writer = HistoryWriter(config, utc=clock.utc, monotonic=clock.monotonic)
    outbox = Outbox(writer.path, writer.put, writer.report_damage)
    channel = Channel("hook", frozenset({"event"}))
    writer.put(put_messages([channel], [Message("event", "", "before", "{}")]))
    writer.tick()
    damage(writer, "outbox")
    with pytest.raises(sqlite3.DatabaseError):
        outbox.waiting("hook", 0, 9)
    writer.put(put_messages([channel], [Message("event", "", "after", "{}")]))
    writer.tick()
    assert [message.uid for message in outbox.waiting("hook", 0, 9)] == ["after"]
    writer.put(add_event(event(number)) for number in range(300))
    writer.tick()
    damage(writer, "event")
    writer.put([add_event(event(1000))])
    writer.stop()
    assert [e.uid for e in Store(config.path).events().events] == ["run-1000"]
    # The same second, twice: neither of the two is lost.
    aside = [
        path for path in config.folder.glob("history.sqlite.damaged-*") if not path.name.endswith(("-wal", "-shm"))
    ]
    assert len([path for path in aside if path.stat().st_size > 8192]) == 2


def test_a_disk_that_is_really_full_loses_nothing_and_breaks_nothing(small_disk, clock):
    told = []
    config = StorageConfig(folder=small_disk, min_free_mb=0)
    writer = HistoryWriter(config, on_notice=told.append, utc=clock.utc, monotonic=clock.monotonic)
    writer.put([add_event(event(0))])
    writer.tick()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    for number in range(1, 4):
        clock.now += 10
        writer.put(add_event(event(1000 * number + i)) for i in range(500))
        writer.tick()
    assert [n.ok for n in told] == [False]
    assert "full" in told[0].sentence
    assert totals(writer.path) < 1501
    ballast.unlink()
    clock.now += 10
    writer.tick()
    assert [n.ok for n in told] == [False, True]
    writer.stop()
    assert totals(config.path) == 1501
    assert sqlite3.connect(config.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_old_rows_go_once_the_clock_has_run_on_steadily(writer, clock):
    writer.put(
        [add_event(event(1, start=NOON - 100 * DAY_S)), put_minute(minute(1, start=int(NOON - 91 * DAY_S)), True)]
    )
    writer.put([add_event(event(2, start=NOON - 89 * DAY_S))])
    writer.tick()
    clock.now += STEADY_S - 60
    writer.tick()
    assert totals(writer.path) == 2
    clock.now += 120
    writer.tick()
    assert [e.uid for e in Store(writer.path).events().events] == ["run-2"]
    assert Store(writer.path).minutes() == []


def test_a_clock_that_is_wrong_for_a_while_deletes_nothing(writer, clock):
    writer.put([add_event(event(1, start=NOON))])
    clock.now += 2 * STEADY_S
    writer.tick()
    clock.offset += 3650 * DAY_S
    for _ in range(50):
        clock.now += 60
        writer.tick()
    clock.offset -= 3650 * DAY_S
    clock.now += 2 * STEADY_S
    writer.tick()
    assert totals(writer.path) == 1


def test_the_oldest_rows_go_when_the_database_is_too_large_and_the_file_shrinks(config, clock):
    config = config.model_copy(update={"max_mb": 1})
    writer = HistoryWriter(config, utc=clock.utc, monotonic=clock.monotonic)
    heat = {(x, y): 1.0 for x in range(60) for y in range(60)}  # 29 kB a minute
    writer.put(put_minute(minute(i, start=int(NOON) + 60 * i, heat=heat), True) for i in range(80))
    writer.tick()
    assert writer.path.stat().st_size + writer.path.with_name("history.sqlite-wal").stat().st_size > 2 << 20
    for _ in range(16):
        clock.now += 60
        writer.tick()
    writer.stop()
    assert config.path.stat().st_size <= 1.05 * (1 << 20)
    kept = [m.minute_utc_s for m in Store(config.path).minutes()]
    assert kept[-1] == int(NOON) + 60 * 79
    assert len(kept) == pytest.approx((1 << 20) / (8 * 3600), rel=0.15)

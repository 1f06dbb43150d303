"""An older history becomes one of today, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3

import pytest

from edge_app.storage import Store
from edge_app.storage.backup import back_up, check, restore
from edge_app.storage.schema import MIGRATIONS, SCHEMA_VERSION, migrate, open_for_writing
from edge_app.storage.statements import add_event, put_minute
from tests.edge_app.storage.made import NOON, WITHOUT_METRES, event, minute

# The last version in which every figure of a minute was a number.
_ALL_NUMBERS = 4
_MINUTES = [minute(number, start=int(NOON) + 60 * number, heat={(number, -1): 2.5}) for number in range(1, 6)]


@pytest.fixture
def old(tmp_path):
    """Make a database of an earlier version; the minute that was stored last is deleted again, the one before runs."""

    def make(version, name="old.sqlite"):
        path = tmp_path / name
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in (statement for step in MIGRATIONS[:version] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        stored = [put_minute(one, closed=one is not _MINUTES[-2]) for one in _MINUTES]
        for statement in (add_event(event(1)), *stored):
            connection.execute(statement.sql, statement.parameters)
        connection.execute("DELETE FROM minute WHERE seq = 5")
        connection.close()
        return path

    return make


def rows(path, sql="SELECT seq, uid, closed, violating_people, exposed_person_s, heat FROM minute ORDER BY seq"):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def put(path, *minutes):
    connection = open_for_writing(path)
    for one in minutes:
        statement = put_minute(one, closed=True)
        connection.execute(statement.sql, statement.parameters)
    connection.close()


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_database_is_brought_up_to_date_and_keeps_its_rows(old, version):
    path = old(version)
    before = rows(path)
    store = Store.open(path)
    assert rows(path) == before
    assert store.minutes() == _MINUTES[:4]
    assert store.events().events == [event(1)]
    assert store.statistics()["outbox"] == 0
    assert check(path)["schema"] == SCHEMA_VERSION


def test_a_rebuilt_table_has_its_indices_and_gives_no_number_twice(old):
    path = old(_ALL_NUMBERS)
    named = "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    before = rows(path, named)
    put(path, minute(9, **WITHOUT_METRES))
    assert rows(path, named) == before
    # Number 5 was that of the row that is deleted.
    assert rows(path)[-1][:5] == (6, "run-m9", 1, None, None)
    # A uid is still there once only.
    put(path, minute(9))
    assert rows(path)[-1][:5] == (6, "run-m9", 1, 2, 20.0)


def test_a_table_without_rows_gives_no_number_twice_either(old):
    path = old(_ALL_NUMBERS)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM minute")
    put(path, minute(9))
    assert [row[0] for row in rows(path)] == [6]


def killed_in(path, number):
    """Bring a database up to date in a process that is killed before the statement of that number; whether it was."""
    child = os.fork()
    if child == 0:
        left = iter(range(number))
        connection = sqlite3.connect(path, isolation_level=None)
        connection.set_trace_callback(lambda sql: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL))
        migrate(connection, path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_step_leaves_the_old_table_or_the_new_one(old):
    number = 1
    while killed_in(path := old(_ALL_NUMBERS, f"{number}.sqlite"), number):
        assert rows(path, "PRAGMA user_version") == [(_ALL_NUMBERS,)]
        assert rows(path, "SELECT name FROM sqlite_master WHERE name LIKE '%anew%'") == []
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert len(rows(path)) == 4
        assert Store.open(path).minutes() == _MINUTES[:4]
        number += 1
    # Each statement of the step, and those around it.
    assert number > len(MIGRATIONS[_ALL_NUMBERS]) + 2
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_backup_of_an_older_version_is_restored(old, tmp_path):
    path, backup, database = old(_ALL_NUMBERS), tmp_path / "backup.sqlite", tmp_path / "history.sqlite"
    put(database, minute(8))
    back_up(path, backup)
    assert check(backup)["schema"] == _ALL_NUMBERS
    kept = restore(backup, database)
    assert Store(database).minutes() == _MINUTES[:4]
    assert check(database)["schema"] == SCHEMA_VERSION
    assert Store(kept).minutes() == [minute(8)]
    put(database, minute(9, start=int(NOON) + 3600, **WITHOUT_METRES))
    assert Store(database).minutes()[-1].exposed_person_s is None

from __future__ import annotations

import csv
import io
import json
import sqlite3
from dataclasses import replace

import pytest
from click.testing import CliRunner

from edge_app.cli import cli
from edge_app.errors import UserError
from edge_app.sinks import StatusNotice
from edge_app.storage import Store
from edge_app.storage.backup import restore
from edge_app.storage.export import COLUMNS
from edge_app.storage.statements import add_event
from tests.edge_app.storage.made import NOON, event, two_people, with_event


@pytest.fixture
def configured(tmp_path, config):
    """A configuration file whose folder is that of the fixture ``config``."""
    path = tmp_path / "config.yaml"
    path.write_text(f"storage: {{folder: {config.folder}, min_free_mb: 0}}\n")
    return str(path)


def storage(*arguments):
    done = CliRunner().invoke(cli, ["storage", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_backup_of_a_running_writer_is_whole_and_can_be_restored(tmp_path, configured, opened, config):
    sink = opened()
    sink.accept("door", NOON, with_event(two_people()[-1]))
    sink.writer.commit_now()
    copy = tmp_path / "copy.sqlite"
    storage("backup", copy, "--config", configured)
    assert [oct(path.stat().st_mode & 0o777) for path in (config.path, copy)] == ["0o600"] * 2
    sink.accept("door", NOON + 60, with_event(two_people()[-1]))
    with pytest.raises(UserError, match="in use by another process"):
        storage("restore", copy, "--config", configured)
    sink.close()
    assert Store(config.path).events().total == 2
    assert "the former one is" in storage("restore", copy, "--config", configured)
    assert Store(config.path).events().total == 1
    assert "intact, schema 5, 1 in event" in storage("check", "--config", configured)


def test_a_restored_database_is_not_overwritten_by_the_log_of_the_former_one(tmp_path, config, store):
    copy = tmp_path / "copy.sqlite"
    storage_copy = Store.open(copy)
    former = sqlite3.connect(config.path)
    for number in range(20):
        statement = add_event(event(number))
        former.execute(statement.sql, statement.parameters)
        former.commit()
    assert config.path.with_name("history.sqlite-wal").stat().st_size > 0
    kept = restore(storage_copy.path, config.path)
    assert Store(config.path).events().total == 0
    former.close()
    assert Store(kept).events().total == 20


def test_a_damaged_database_or_backup_is_said_and_nothing_is_replaced(tmp_path, configured, config, store):
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(store.path.read_bytes()[:8192] + b"\xff" * 20000)
    with pytest.raises(UserError, match="damaged"):
        storage("check", "--file", broken)
    with pytest.raises(UserError, match="damaged"):
        storage("restore", broken, "--config", configured)
    assert store.events().total == 0
    with pytest.raises(UserError, match="does not exist"):
        storage("backup", tmp_path / "x", "--config", _elsewhere(tmp_path))


def test_a_backup_that_cannot_be_written_leaves_nothing(tmp_path, configured, store):
    with pytest.raises(UserError, match="cannot be written"):
        storage("backup", tmp_path / "nowhere" / "copy", "--config", configured)
    assert not (tmp_path / "nowhere").exists()


def test_history_is_exported_by_time_and_camera(configured, opened):
    sink = opened()
    for minutes, camera in ((0, "door"), (1, "door"), (2, "yard")):
        time_s = 60.0 * minutes
        result = replace(two_people()[-1], time_s=time_s + 1.4)
        sink.accept(camera, NOON + time_s, with_event(result, start_s=time_s + 1.0, end_s=time_s + 1.4))
    sink.close()
    table = storage("export", "events", "--config", configured, "--from", "2026-01-01T12:00:30", "--camera", "door")
    assert [row["start_utc"] for row in csv.DictReader(io.StringIO(table))] == ["2026-01-01T12:00:59.600Z"]
    rows = json.loads(
        storage("export", "events", "--config", configured, "--format", "json", "--to", "2026-01-01T12:01")
    )
    assert {row["camera"] for row in rows} == {"door"}


def test_each_kind_of_history_is_exported_by_the_command(configured, opened):
    opened().close()
    for kind, columns in COLUMNS.items():
        assert storage("export", kind, "--config", configured).splitlines()[0] == ",".join(columns)


def test_an_export_that_fails_prints_no_header(tmp_path):
    done = CliRunner().invoke(cli, ["storage", "export", "events", "--config", str(_elsewhere(tmp_path))])
    assert isinstance(done.exception, UserError)
    assert done.stdout == ""


def test_an_export_of_a_camera_that_history_does_not_know_is_refused(configured, opened):
    sink = opened()
    sink.accept("door", NOON, with_event(two_people()[-1]))
    sink.notice(StatusNotice("yard", "source", False, "the camera is gone", NOON))
    sink.close()
    with pytest.raises(UserError, match=r"history knows no camera 'nope' \(known: door\)"):
        storage("export", "events", "--config", configured, "--camera", "nope")
    assert "the camera is gone" in storage("export", "notices", "--config", configured, "--camera", "yard")
    for camera, *more in (("yard",), ("door", "--from", "2030-01-01")):
        table = storage("export", "events", "--config", configured, "--camera", camera, *more)
        assert table.splitlines() == [",".join(COLUMNS["events"])]


def test_a_backup_replaces_no_file_unless_told_to(tmp_path, configured, config, store):
    copy = tmp_path / "copy.sqlite"
    copy.write_text("a letter")
    with pytest.raises(UserError, match=r"exists already; give another file, or --force"):
        storage("backup", copy, "--config", configured)
    assert copy.read_text() == "a letter"
    storage("backup", copy, "--force", "--config", configured)
    assert Store(copy).events().total == 0
    with pytest.raises(UserError, match="is history itself"):
        storage("backup", config.path, "--force", "--config", configured)


def test_a_file_that_is_no_backup_is_said_to_be_none(tmp_path, configured, store):
    junk = tmp_path / "junk"
    junk.write_text("a letter")
    with pytest.raises(UserError, match=r"junk is no backup; give a file that 'edge_app storage backup' wrote"):
        storage("restore", junk, "--config", configured)


def _elsewhere(tmp_path):
    path = tmp_path / "elsewhere.yaml"
    path.write_text("storage: {folder: nowhere}\n")
    return path

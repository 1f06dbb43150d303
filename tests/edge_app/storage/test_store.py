from __future__ import annotations

import csv
import io
import json
import sqlite3

import numpy as np
import pytest

from edge_app.errors import UserError
from edge_app.sinks import StatusNotice
from edge_app.storage import Store, TimeRange
from edge_app.storage.export import COLUMNS, csv_lines, export_rows, iso_utc, json_parts
from edge_app.storage.schema import open_for_writing
from edge_app.storage.statements import add_alert, add_event, add_notice, put_minute
from edge_app.storage.store import minute_of, read_left_behind
from tests.edge_app.storage.made import NOON, WITHOUT_METRES, alert, event, minute


@pytest.fixture
def write(store):
    connection = open_for_writing(store.path)

    def run(*statements):
        for statement in statements:
            connection.execute(statement.sql, statement.parameters)

    yield run
    connection.close()


def test_what_was_written_is_read_back(store, write):
    write(add_event(event(1)), add_event(event(2, same_group=None)), put_minute(minute(1), closed=True))
    newest, older = store.events().events
    assert (newest.uid, newest.same_group) == ("run-2", None)
    assert older == event(1)
    assert store.minutes() == [minute(1)]
    assert store.event("run-1") == older
    assert store.event("nothing") is None
    assert store.cameras() == ["door"]


def test_pages_of_events_hold_each_event_once_although_new_ones_come_in_between(store, write):
    write(*(add_event(event(i, start=NOON + i // 3)) for i in range(25)))
    first = store.events(limit=10)
    write(add_event(event(99, start=NOON + 1000)))
    second = store.events(limit=10, cursor=first.next_cursor)
    third = store.events(limit=10, cursor=second.next_cursor)
    found = [e.uid for page in (first, second, third) for e in page.events]
    assert found == [f"run-{i}" for i in reversed(range(25))]
    assert (first.total, third.next_cursor) == (25, None)


def test_a_clock_that_was_wrong_once_does_not_decide_when_alerts_were_told_last(store, write):
    write(
        add_alert(alert(0, NOON + 10 * 365 * 86400)),
        add_alert(alert(1, NOON)),
        add_alert(alert(2, NOON + 60, state="recovered")),
        add_alert(alert(3, NOON + 90, rule="near", camera="yard")),
    )
    connection = open_for_writing(store.path)
    told = read_left_behind(connection).last_told_utc_s
    connection.close()
    assert told == {("full", "door"): NOON, ("near", "yard"): NOON + 90}


def test_an_export_of_minutes_holds_few_at_once_and_each_once(store, write, monkeypatch):
    write(*(put_minute(minute(i, start=int(NOON) + 60 * (i // 2)), closed=True) for i in range(11)))
    monkeypatch.setattr("edge_app.storage.store._EXPORT_PAGE", 4)
    read = []
    monkeypatch.setattr("edge_app.storage.store.minute_of", lambda row: read.append(row["uid"]) or minute_of(row))
    rows = export_rows(store, "minutes", TimeRange(NOON, None, "door"))
    next(rows)
    assert len(read) <= 4
    assert 1 + len(list(rows)) == 11
    assert read == [f"run-m{i}" for i in range(11)]


def test_events_are_found_by_time_camera_duration_distance_and_group(store, write):
    write(
        add_event(event(1, camera="door", start=NOON)),
        add_event(event(2, camera="yard", start=NOON + 10, seconds=9.0, min_distance_m=1.5)),
        add_event(event(3, camera="yard", start=NOON + 20, same_group=True)),
    )

    def uids(**filters):
        within = TimeRange(*(filters.pop(name, None) for name in ("start", "end", "camera")))
        return [e.uid for e in store.events(within, **filters).events]

    assert uids(start=NOON + 10) == ["run-3", "run-2"]
    assert uids(start=NOON, end=NOON + 10) == ["run-1"]
    assert uids(camera="yard") == ["run-3", "run-2"]
    assert uids(min_duration_s=5.0) == ["run-2"]
    assert uids(same_group=True) == ["run-3"]
    assert uids(max_distance_m=0.8) == ["run-3", "run-1"]
    assert uids(max_distance_m=1.5, camera="yard") == ["run-3", "run-2"]


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (1001, None), (10, "x"), (10, "1:"), (10, "1:2:3")])
def test_a_limit_or_cursor_that_is_none_is_said(store, limit, cursor):
    with pytest.raises(UserError, match=r"limit|cursor"):
        store.events(limit=limit, cursor=cursor)


def test_a_series_adds_up_parts_and_weighs_means_by_the_time_watched(store, write):
    write(
        put_minute(minute(1, watched_s=60.0, person_s=60.0, density_per_m2=0.1, passed_in=1, passed_out=0), True),
        put_minute(minute(2, watched_s=20.0, person_s=60.0, density_per_m2=0.3, passed_in=2, passed_out=1), True),
        put_minute(minute(3, start=int(NOON) + 3600), True),
        add_event(event(1, start=NOON + 5)),
        add_event(event(2, start=NOON + 7200)),
    )
    first, second, third = store.series(TimeRange(NOON, NOON + 86400), 3600)
    assert (first.counted_s, first.measured_s) == (80.0, 80.0)
    assert (first.start_utc_s, first.watched_s, first.events) == (int(NOON), 80.0, 1)
    assert first.occupancy_mean == pytest.approx(1.5)
    assert first.density_per_m2 == pytest.approx((0.1 * 60 + 0.3 * 20) / 80)
    assert (first.passed_in, first.passed_out) == (3, 1)
    assert (second.density_per_m2, second.passed_in, second.events) == (None, None, 0)
    assert (third.start_utc_s, third.watched_s, third.events) == (int(NOON) + 7200, 0.0, 1)
    with pytest.raises(UserError, match="multiple of 60"):
        store.series(TimeRange(), 90)


def test_what_was_not_measured_adds_nothing_and_its_time_does_not_count_for_means(store, write):
    hours = [int(NOON) + 3600 * hour for hour in range(4)]
    in_sight = {**WITHOUT_METRES, "person_s": 30.0, "occupancy_max": 5}
    write(
        put_minute(minute(1, start=hours[0], **WITHOUT_METRES, heat={}), True),
        put_minute(minute(2, start=hours[1], **WITHOUT_METRES, heat={}), True),
        put_minute(minute(3, start=hours[1] + 60), True),
        put_minute(minute(4, start=hours[2], **in_sight, heat={}), True),
        put_minute(minute(5, start=hours[2] + 60), True),
        add_event(event(1, start=hours[3])),
    )
    assert store.minutes()[0] == minute(1, start=hours[0], **WITHOUT_METRES, heat={})
    assert store.minutes()[0].occupancy_mean is None
    nothing, half, no_region, event_only = store.series(TimeRange(), 3600)
    assert (nothing.watched_s, nothing.counted_s, nothing.measured_s) == (60.0, 0.0, 0.0)
    assert (nothing.occupancy_mean, nothing.occupancy_max, nothing.person_s) == (None, None, None)
    assert (nothing.exposed_person_s, nothing.violating_pair_s, nothing.exposed_mean) == (None, None, None)
    assert (half.watched_s, half.counted_s, half.measured_s) == (120.0, 60.0, 60.0)
    assert (half.occupancy_mean, half.occupancy_max, half.exposed_mean) == (1.5, 3, pytest.approx(1 / 3))
    assert (no_region.counted_s, no_region.measured_s) == (120.0, 60.0)
    assert (no_region.occupancy_mean, no_region.occupancy_max, no_region.exposed_person_s) == (1.0, 5, 20.0)
    assert (event_only.events, event_only.watched_s, event_only.exposed_person_s) == (1, 0.0, None)


def test_what_was_not_measured_is_empty_in_csv_and_null_in_json(store, write):
    write(put_minute(minute(1, **WITHOUT_METRES, heat={}), True))
    (row,) = rows = list(export_rows(store, "minutes", TimeRange()))
    (as_csv,) = csv.DictReader(io.StringIO("".join(csv_lines(rows, COLUMNS["minutes"]))))
    for name in (*WITHOUT_METRES, "occupancy_mean"):
        assert (row[name], as_csv[name]) == (None, "")
    assert json.loads("".join(json_parts(rows)))[0]["exposed_person_s"] is None
    assert (as_csv["people"], as_csv["watched_s"]) == ("3", "60.0")


def test_a_cell_far_from_all_others_does_not_blow_a_heat_map_up(store, write):
    write(put_minute(minute(1, heat={(1, -2): 5.0, (2, -2): 3.0, (30_000, -30_000): 1.0}), True))
    np.testing.assert_allclose(store.heat_map().person_s, [[5, 3]])


def test_a_heat_map_sums_cells_in_metres(store, write):
    write(put_minute(minute(1), True), put_minute(minute(2, heat={(1, -2): 5.0}), True))
    heat = store.heat_map()
    assert (heat.cell_m, heat.x_m, heat.y_m) == (0.5, 0.0, -1.0)
    np.testing.assert_allclose(heat.person_s, [[0, 35], [0, 0], [60, 0]])
    assert store.heat_map(TimeRange(camera="yard")).person_s.shape == (0, 0)


def test_cameras_are_those_of_events_and_of_minutes(store, write):
    assert store.cameras() == []
    for number, camera in enumerate(["yard", "door", "door", "gate"]):
        write(add_event(event(number, camera=camera)), put_minute(minute(number, camera=camera), True))
    write(put_minute(minute(9, camera="attic"), True))
    assert store.cameras() == ["attic", "door", "gate", "yard"]


def test_notices_come_newest_first(store, write):
    for number in range(3):
        write(add_notice(f"n{number}", StatusNotice("door", "source", number == 2, f"{number}", NOON + number)))
    assert [(n.sentence, n.ok) for n in store.notices(limit=2)] == [("2", True), ("1", False)]


def test_what_is_stored_again_is_there_once(store, write):
    for _ in range(2):
        write(add_event(event(1)), add_notice("n", StatusNotice("", "storage", True, "well", NOON)))
    write(put_minute(minute(1, watched_s=10.0), False), put_minute(minute(1, watched_s=60.0), True))
    assert store.events().total == 1
    assert [m.watched_s for m in store.minutes()] == [60.0]
    assert len(store.notices()) == 1


def test_exports_have_the_same_rows_as_csv_and_json(store, write):
    write(add_event(event(1, camera="=cmd()")), add_event(event(2, same_group=None)), put_minute(minute(1), True))
    write(add_notice("n", StatusNotice("door", "source", False, "gone", NOON)))
    write(add_alert(alert(1)))
    for kind, columns in COLUMNS.items():
        rows = list(export_rows(store, kind, TimeRange()))
        assert rows
        assert json.loads("".join(json_parts(rows))) == rows
        table = list(csv.DictReader(io.StringIO("".join(csv_lines(rows, columns)))))
        assert [tuple(row) for row in table] == [columns] * len(rows)
    events = list(
        csv.DictReader(io.StringIO("".join(csv_lines(export_rows(store, "events", TimeRange()), COLUMNS["events"]))))
    )
    assert events[1]["camera"] == "'=cmd()"
    assert (events[0]["same_group"], events[1]["same_group"]) == ("", "0")
    assert events[1]["start_utc"] == "2026-01-01T12:00:00.000Z"
    assert list(json_parts([])) == ["[]\n"]


def test_exports_of_notices_and_alerts_have_no_limit_and_each_row_once(store, write, monkeypatch):
    monkeypatch.setattr("edge_app.storage.store._EXPORT_PAGE", 4)
    for number in range(13):
        # Several of the same moment, so that a page ends among them.
        when = NOON + number // 3
        write(add_notice(f"n{number}", StatusNotice("door", "source", True, f"{number}", when)))
        write(add_alert(alert(number, when)))
    for kind in ("notices", "alerts"):
        sentences = [row["sentence"] for row in export_rows(store, kind, TimeRange())]
        assert sentences == [str(number) for number in reversed(range(13))]
        within = TimeRange(NOON + 1, NOON + 3, "door")
        assert [row["sentence"] for row in export_rows(store, kind, within)] == ["8", "7", "6", "5", "4", "3"]
        assert list(export_rows(store, kind, TimeRange(camera="yard"))) == []


def test_an_export_of_more_notices_than_once_were_allowed_is_whole(tmp_path):
    path = tmp_path / "history.sqlite"
    store = Store.open(path)
    with sqlite3.connect(path) as connection:
        one = add_notice("n", StatusNotice("door", "source", True, "well", NOON))
        connection.executemany(one.sql, ((f"n{number}", *one.parameters[1:]) for number in range(100_050)))
    assert sum(1 for _ in export_rows(store, "notices", TimeRange())) == 100_050


def test_times_are_iso_8601_in_utc():
    assert iso_utc(NOON + 0.25) == "2026-01-01T12:00:00.250Z"


def test_a_newer_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "new.sqlite"
    new = sqlite3.connect(path)
    new.execute("PRAGMA user_version = 99")
    new.close()
    with pytest.raises(UserError, match="schema 99"):
        Store.open(path)


def test_a_file_that_is_no_database_is_said(tmp_path):
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(UserError, match="restore"):
        Store.open(path)


def test_a_store_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Store(tmp_path / "history.sqlite").events()

from __future__ import annotations

import os
import signal
import sqlite3
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_app.alerts.rules import SETTLE_S
from edge_app.config import Config, MetricsConfig
from edge_app.delivery.messages import parse_message
from edge_app.errors import UserError
from edge_app.pipeline import Pipeline
from edge_app.records import Detections
from edge_app.sinks import StatusNotice
from edge_app.storage import Store
from edge_app.storage.capture_times import CaptureTimes
from edge_app.storage.minutes import MinuteAggregator
from edge_app.storage.store import read_left_behind
from edge_app.storage.wiring import _settle_s, open_sinks
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.scenes import CAMERA, NoModel, results_of
from tests.edge_app.storage.made import NOON, damage, two_people, with_event
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down
from tests.edge_app.waiting import wait_until


def aggregated(results, utc_of, **metrics):
    numbers = iter(range(1, 100))
    aggregator = MinuteAggregator("door", MetricsConfig(**metrics), lambda: f"m{next(numbers)}")
    for result in results:
        aggregator.add(utc_of(result), result)
    aggregator.finish()
    return aggregator.take()[0]


def test_a_minute_counts_people_pairs_seconds_and_places():
    (minute,) = aggregated(two_people(frames=51), lambda r: NOON + r.time_s)
    assert (minute.camera, minute.minute_utc_s) == ("door", int(NOON))
    assert (minute.people, minute.violating_people, minute.violating_pairs, minute.occupancy_max) == (2, 2, 1, 2)
    assert minute.watched_s == pytest.approx(5.0)
    # The tracker confirms a person in the third frame, so two steps of 0.1 s see nobody.
    assert minute.person_s == pytest.approx(9.6)
    assert minute.exposed_person_s == pytest.approx(9.6)
    assert minute.violating_pair_s == pytest.approx(4.8)
    assert sum(minute.heat.values()) == pytest.approx(9.6)
    assert all(-2 <= x <= 3 and 11 <= y <= 12 for x, y in minute.heat)
    assert (minute.density_per_m2, minute.passed_in) == (None, None)


def test_a_region_limits_occupancy_and_gives_density():
    region = [(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)]
    (minute,) = aggregated(two_people(frames=51), lambda r: NOON + r.time_s, region_m=region)
    assert (minute.people, minute.occupancy_max) == (2, 1)
    assert minute.density_per_m2 == pytest.approx(4.8 / 5.0 / 4.0)


def test_another_region_counts_from_the_next_frame_on_and_no_row_mixes_two():
    results = two_people(frames=51)
    numbers = iter(range(100))
    aggregator = MinuteAggregator("door", MetricsConfig(), lambda: f"m{next(numbers)}")
    left_half = MetricsConfig(region_m=[(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)])
    for result in results:
        if result.index in (20, 30):
            aggregator.use(left_half)
        aggregator.add(NOON + result.time_s, result)
    aggregator.finish()
    before, after = aggregator.take()[0]
    assert (before.occupancy_max, before.density_per_m2, after.occupancy_max) == (2, None, 1)
    assert after.density_per_m2 == pytest.approx(1 / 4.0)
    assert before.watched_s + after.watched_s == pytest.approx(4.9)


def test_passages_of_the_line_fall_into_their_minute():
    here, there = results_of([[-1.0, 6.0]], frames=10), results_of([[1.0, 6.0]], frames=10)
    walk = [here[-1], there[-1], here[-1]]
    walk = [type(r)(**{**vars(r), "index": i, "time_s": float(i)}) for i, r in enumerate(walk)]
    line = [(0.0, 0.0), (0.0, 10.0)]
    minutes = aggregated(walk, lambda r: NOON + 59 + (0 if r.index < 2 else 1), line_m=line)
    assert [(m.passed_in, m.passed_out) for m in minutes] == [(0, 1), (1, 0)]


def test_a_clock_that_is_set_back_makes_another_part_of_the_same_minute():
    results = two_people(frames=61)
    minutes = aggregated(results, lambda r: NOON + r.time_s - (60.0 if 2.0 <= r.time_s < 4.0 else 0.0))
    assert [m.minute_utc_s - int(NOON) for m in minutes] == [0, -60, 0]
    assert len({m.uid for m in minutes}) == 3
    assert sum(m.watched_s for m in minutes) == pytest.approx(6.0)


def figures_in_metres(minute):
    return (
        minute.violating_people, minute.violating_pairs, minute.exposed_person_s, minute.violating_pair_s,
        minute.density_per_m2, minute.passed_in, minute.passed_out,
    )  # fmt: skip


def test_people_without_a_calibration_are_counted_and_nothing_is_said_in_metres():
    results = results_of([[0.0, 6.0], [1.0, 6.0]], frames=51, camera=None)
    (minute,) = aggregated(results, lambda r: NOON + r.time_s, line_m=[(0.0, 0.0), (0.0, 10.0)])
    assert (minute.people, minute.occupancy_max, minute.heat) == (2, 2, {})
    assert (minute.watched_s, minute.person_s) == (pytest.approx(5.0), pytest.approx(9.6))
    assert figures_in_metres(minute) == (None,) * 7


def test_who_is_in_a_region_is_not_known_without_a_calibration():
    results = results_of([[0.0, 6.0]], frames=51, camera=None)
    (minute,) = aggregated(results, lambda r: NOON + r.time_s, region_m=[(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0)])
    assert (minute.people, minute.watched_s) == (1, pytest.approx(5.0))
    assert (minute.person_s, minute.occupancy_max, minute.occupancy_mean) == (None, None, None)
    assert figures_in_metres(minute) == (None,) * 7


def test_a_minute_in_which_the_camera_was_moved_has_a_part_with_metres_and_one_without():
    region = [(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)]
    blind = results_of([[0.0, 6.0], [1.0, 6.0]], frames=51, camera=None)
    results = [blind[r.index] if 20 <= r.index < 40 else r for r in two_people(frames=51)]
    parts = aggregated(results, lambda r: NOON + r.time_s, region_m=region)
    assert [part.minute_utc_s for part in parts] == [int(NOON)] * 3
    assert len({part.uid for part in parts}) == 3
    assert [part.watched_s for part in parts] == [pytest.approx(s) for s in (2.0, 2.0, 1.0)]
    assert [part.violating_pairs for part in parts] == [1, None, 1]
    # A part's exposure and density are about its own seconds, not about those without metres.
    assert [part.exposed_person_s for part in parts] == [pytest.approx(3.6), None, pytest.approx(2.0)]
    assert [part.occupancy_max for part in parts] == [1, None, 1]
    assert [part.density_per_m2 for part in parts] == [pytest.approx(1.8 / 2.0 / 4.0), None, pytest.approx(1 / 4.0)]
    assert [bool(part.heat) for part in parts] == [True, False, True]


def test_a_running_minute_is_news_at_once_with_people_and_every_ten_seconds_without():
    aggregator = MinuteAggregator("door", MetricsConfig(), lambda: "m")
    nobody = results_of(np.zeros((0, 2)), frames=1)[0]
    news = []
    for second in range(25):
        shown = two_people()[-1] if second == 3 else nobody
        aggregator.add(NOON + second, replace(shown, time_s=float(second)))
        news.append(aggregator.take()[1])
    assert [second for second, minute in enumerate(news) if minute is not None] == [3, 13, 23]
    assert (news[3].people, news[13].watched_s) == (2, 13.0)


def test_results_and_notices_end_up_in_history(opened, config):
    sink = opened()
    results = two_people(frames=20)
    for result in results[:-1]:
        sink.accept("door", NOON + result.time_s, result)
    last = with_event(results[-1], start_s=0.5, end_s=1.5)
    sink.accept("door", NOON + last.time_s, last)
    sink.notice(StatusNotice("door", "source", False, "the camera is gone; check the cable", NOON))
    sink.close()
    store = Store(config.path)
    (event,) = store.events().events
    assert event.start_utc_s == pytest.approx(NOON + 0.5)
    assert event.duration_s == 1.0
    assert [m.people for m in store.minutes()] == [2]
    assert [n.kind for n in store.notices()] == ["source"]
    assert sink.writer.lost == 0


def test_minutes_without_a_calibration_are_stored_and_sent_without_figures_in_metres(tmp_path):
    config = Config.model_validate(
        {
            "storage": {"folder": str(tmp_path), "min_free_mb": 0, "commit_s": 0.02},
            "alerts": {"receivers": {"webhooks": [{"url": "http://127.0.0.1:9/", "send": ["minute"]}]}},
        }
    )
    with open_sinks(config) as sinks:
        for result in results_of([[0.0, 6.0], [1.0, 6.0]], frames=20, camera=None):
            sinks[0].accept("camera", NOON + result.time_s, result)
    (minute,) = Store(config.storage.path).minutes()
    assert (minute.people, minute.violating_people, minute.exposed_person_s) == (2, None, None)
    with sqlite3.connect(config.storage.path) as connection:
        (payload,) = connection.execute("SELECT payload FROM outbox").fetchone()
    sent = parse_message(payload.encode())
    assert (sent.people, sent.violating_people, sent.exposed_person_s, sent.heat) == (2, None, None, [])


def watched(sink, pipeline, sees, utc_of, seconds, changes=()):
    """Let a pipeline see two people at ten frames a second and ``sink`` store it, with (second, change) in between."""
    boxes = boxes_of_people(CAMERA, np.array([[0.0, 6.0], [1.0, 6.0]]))
    nobody = Detections.empty()
    for index in range(round(seconds * 10)):
        time_s = index / 10
        for second, change in changes:
            if index == second * 10:
                pipeline.reconfigure(*change, None)
        sink.accept("door", utc_of(time_s), pipeline.interpret(index, time_s, boxes if sees(time_s) else nobody))
    sink.close()


def overlapping(events):
    """Return the pairs of events of the same two people that overlap on the clock."""
    events = sorted(events, key=lambda event: event.start_utc_s)
    return [
        (one.uid, other.uid)
        for number, one in enumerate(events)
        for other in events[number + 1 :]
        if (one.id_a, one.id_b) == (other.id_a, other.id_b) and other.start_utc_s < one.end_utc_s
    ]


@pytest.mark.parametrize(
    ("changed", "camera"),
    [
        ({"distance": {"threshold_m": 1.5}}, CAMERA),
        ({"events": {"exit_margin_m": 0.5, "max_gap_s": 5.0}}, CAMERA),
        ({"groups": {"enabled": False}}, CAMERA),
        ({}, camera_looking_down(height_m=3.1, width=320, height=240, focal_px=200.0)),
    ],
    ids=["threshold", "events", "groups", "calibration"],
)
def test_an_event_that_is_open_at_a_change_ends_once_and_no_two_of_a_pair_overlap(opened, config, changed, camera):
    # A busy machine: the frame that meets the change comes half a second late, and those after it make up for it.
    def utc_of(time_s):
        return NOON + time_s + 0.9 * max(0.0, 0.5 - time_s % 4 if time_s >= 4 else 0.0)

    change = (Config.model_validate(changed), camera)
    changes = [(4, change), (8, (Config(), CAMERA))]
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    watched(opened(), pipeline, lambda time_s: time_s < 12, utc_of, 20, changes)
    events = Store(config.path).events().events
    assert sorted(round(event.duration_s, 1) for event in events) == [3.7, 3.9, 3.9]
    assert {(event.id_a, event.id_b) for event in events} == {(1, 2)}
    assert overlapping(events) == []


@pytest.mark.parametrize("times", [3.0, 0.4])
def test_events_of_a_recording_that_is_not_played_at_its_own_pace_do_not_overlap(opened, config, times):
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    watched(opened(), pipeline, lambda time_s: time_s % 10 < 6, lambda time_s: NOON + time_s / times, 40)
    events = sorted(Store(config.path).events().events, key=lambda event: event.start_utc_s)
    assert [round(event.duration_s, 1) for event in events] == pytest.approx([5.8] * 4, abs=0.3)
    assert overlapping(events) == []
    assert events[-1].end_utc_s == pytest.approx(NOON + 35.9 / times, abs=0.1)


def test_an_event_in_which_the_clock_was_set_begins_where_the_new_clock_puts_it(opened, config, monkeypatch):
    sink, results = opened(), two_people(frames=21)
    ahead_s = 0.0
    monkeypatch.setattr("edge_app.storage.capture_times.time.time", lambda: time.monotonic() + NOON + ahead_s)
    for result in results[:10]:
        sink.accept("door", NOON + result.time_s, result)
    ahead_s = 3600.0
    for result in results[10:20]:
        sink.accept("door", NOON + result.time_s + ahead_s, result)
    sink.accept("door", NOON + 2.0 + ahead_s, with_event(results[20], start_s=0.5, end_s=1.5))
    sink.close()
    (event,) = Store(config.path).events().events
    assert (event.start_utc_s, event.end_utc_s) == pytest.approx((NOON + 3600.5, NOON + 3601.5), abs=1e-3)


def test_a_frame_is_looked_back_on_for_an_hour_and_longer_ago_is_reckoned():
    times = CaptureTimes()
    for index in range(80_000):
        times.add(index / 10, NOON + index / 20)
    assert times.utc_s(7000.0) == pytest.approx(NOON + 3500.0, abs=1e-3)
    assert times.utc_s(0.0) < times.utc_s(1.0) < times.utc_s(7000.0)


def test_events_that_were_open_at_the_end_are_in_history(opened, config):
    sink, results = opened(), two_people(frames=21)
    for result in results:
        sink.accept("door", NOON + result.time_s, result)
    sink.end("door", with_event(results[-1], start_s=0.5, end_s=2.0).closed_events)
    sink.close()
    (event,) = Store(config.path).events().events
    assert event.camera == "door"
    assert (event.start_utc_s, event.end_utc_s) == pytest.approx((NOON + 0.5, NOON + 2.0), abs=1e-3)


def test_a_running_minute_is_in_history_before_it_is_over(opened, config):
    sink = opened()
    for result in two_people(frames=20):
        sink.accept("door", NOON + result.time_s, result)
    sink.writer.commit_now()
    assert [m.watched_s for m in Store(config.path).minutes()] == [pytest.approx(1.9)]
    for result in two_people(frames=20, first=20):
        sink.accept("door", NOON + result.time_s, result)
    sink.writer.commit_now()
    (minute,) = Store(config.path).minutes()
    assert minute.watched_s == pytest.approx(3.9)
    assert sum(minute.heat.values()) > 6.0


@pytest.mark.parametrize("stop", ["killed", "stopped"])
def test_an_alert_that_an_earlier_run_left_open_is_ended_by_the_next(tmp_path, stop):
    rules = [{"name": "full", "kind": "occupancy", "above": 1, "sustained_s": 0}]
    stored = {"storage": {"folder": str(tmp_path / "state"), "min_free_mb": 0, "commit_s": 0.02}}
    before, after = (Config.model_validate({**stored, "alerts": {"rules": r}}) for r in (rules, []))
    pid = os.fork()
    if pid == 0:
        with open_sinks(before) as sinks:
            for result in two_people(frames=20):
                for sink in sinks:
                    sink.accept("camera", time.time(), result)
            sinks[0].writer.commit_now()
            if stop == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)
    store = Store(before.storage.path)
    (told,) = store.alerts()
    with open_sinks(before) as sinks:
        for result in two_people(frames=20):
            sinks[1].accept("camera", time.time(), result)
        sinks[0].writer.commit_now()
        assert store.alerts() == [told]
    with open_sinks(after):
        wait_until(lambda: len(store.alerts()) == 2)
    over = store.alerts()[0]
    assert (over.alert, over.state, over.uid) == (told.alert, "recovered", f"{told.alert}-recovered")
    with open_sinks(after) as sinks:
        time.sleep(1.2)
        sinks[0].writer.commit_now()
    assert len(store.alerts()) == 2


def test_a_start_that_is_refused_leaves_no_run(opened, config):
    opened().close()
    with sqlite3.connect(config.path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM run").fetchone() == (0,)
        sink = opened()
        sink.accept("door", NOON, with_event(two_people()[-1]))
        sink.close()
        assert connection.execute("SELECT id FROM run").fetchall() == [(sink.run,)]


def test_two_runs_never_share_a_uid(opened, config):
    for _ in range(2):
        sink = opened()
        sink.accept("door", NOON, with_event(two_people()[-1]))
        sink.close()
    assert Store(config.path).events().total == 2


def test_a_second_writer_is_refused(opened):
    opened()
    with pytest.raises(UserError, match="in use by another process"):
        opened()


def test_no_sinks_are_opened_where_storage_is_off(tmp_path):
    config = Config.model_validate({"storage": {"enabled": False, "folder": str(tmp_path)}})
    with open_sinks(config) as sinks:
        assert sinks == []
    assert list(tmp_path.iterdir()) == []


def test_the_sinks_of_a_configuration_store_until_they_are_closed(tmp_path):
    config = Config.model_validate({"storage": {"folder": str(tmp_path), "min_free_mb": 0}})
    with open_sinks(config) as sinks:
        for sink in sinks:
            sink.accept("camera", NOON, with_event(two_people()[-1]))
    assert Store(config.storage.path).events().total == 1


def test_a_damaged_history_is_set_aside_and_said_and_a_new_one_begun(opened, config):
    config.folder.mkdir()
    config.path.write_bytes(b"no database at all" * 100)
    sink = opened()
    sink.accept("door", NOON, with_event(two_people()[-1]))
    sink.close()
    store = Store(config.path)
    assert store.events().total == 1
    (notice,) = store.notices()
    assert (notice.kind, notice.ok) == ("storage", False)
    (aside,) = config.folder.glob("history.sqlite.damaged-*")
    assert str(aside) in notice.sentence
    assert aside.read_bytes().startswith(b"no database")


@pytest.mark.parametrize("table", ["minute", "alert", "run"])
def test_a_history_that_proves_damaged_when_it_is_read_at_the_start_is_set_aside(opened, config, table):
    sink = opened()
    sink.accept("door", NOON, with_event(two_people()[-1]))
    sink.writer.commit_now()
    sink.close()
    broken = HistoryWriter(config)
    damage(broken, table)
    broken.close()
    with open_sinks(Config.model_validate({"storage": config.model_dump()})) as sinks:
        sinks[0].writer.commit_now()
        assert [(n.kind, n.ok) for n in Store(config.path).notices()] == [("storage", False)]
    assert len(list(config.folder.glob("history.sqlite.damaged-*"))) >= 1


def test_a_run_that_stores_nothing_says_once_a_minute_that_it_still_watches(opened, config, monkeypatch):
    sink = opened()
    assert sink.left_behind.watched_utc_s == 0.0
    sink.notice(StatusNotice("door", "source", False, "the camera is gone; check the cable", NOON))
    sink.writer.commit_now()
    first = read_left_behind(sink.writer.connection).watched_utc_s
    monkeypatch.setattr("edge_app.storage.sink._WATCHED_EVERY_S", 0.0)
    later = time.time() + 1000.0
    monkeypatch.setattr("edge_app.storage.sink.time.time", lambda: later)
    wait_until(lambda: read_left_behind(sink.writer.connection).watched_utc_s == later)
    assert first < later - 900
    sink.close()
    assert opened().left_behind.watched_utc_s == later


def test_how_long_a_fault_may_take_to_show_again_is_taken_from_the_cameras():
    config = Config.model_validate({"source": {"frozen_timeout_s": 100, "stall_timeout_s": 5}})
    assert _settle_s(config) == SETTLE_S + 100
    config = Config.model_validate({"source": {"frozen_timeout_s": 0, "stall_timeout_s": 40}})
    assert _settle_s(config) == SETTLE_S + 80


@pytest.mark.parametrize("trouble", ["locked", "unreadable"])
def test_a_history_that_is_whole_is_never_set_aside(opened, config, monkeypatch, trouble):
    sink = opened()
    sink.accept("door", NOON, with_event(two_people()[-1]))
    sink.close()
    with sqlite3.connect(config.path, isolation_level=None) as other:
        if trouble == "locked":
            monkeypatch.setattr("edge_app.storage.schema._BUSY_S", 0.1)
            other.execute("PRAGMA user_version = 3")
            other.execute("ALTER TABLE run DROP COLUMN watched_utc_s")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UserError, match="cannot be used now"):
                opened()
            other.execute("ROLLBACK")
        else:
            other.execute("UPDATE minute SET closed = 0, heat = x'ff'")
            other.execute("INSERT INTO run VALUES ('x', 0, CAST(x'ff' AS TEXT), '{}', NULL)")
            other.execute(
                "INSERT INTO alert VALUES (1, 'u', 'a', CAST(x'ff' AS TEXT), 'fault', 'door', 'firing', 's', 1.0)"
            )
    opened().close()
    assert list(config.folder.glob("*damaged*")) == []
    assert Store(config.path).events().total == 1

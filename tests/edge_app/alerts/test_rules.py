from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_app.alerts.conditions import Quiet, Sustained
from edge_app.alerts.config import AlertsConfig, QuietHours
from edge_app.alerts.rules import Alert, LeftOpen, RuleBook
from edge_app.config import EventConfig, MetricsConfig, parse_config
from edge_app.distances import measure_pairs
from edge_app.errors import UserError
from edge_app.events import EventDetector
from edge_app.records import GroundPoints
from edge_app.sinks import StatusNotice
from edge_app.successors import Successors
from tests.edge_app.storage.made import NOON, two_people

CLOSE = two_people(frames=30)[-1]
NOBODY = replace(
    CLOSE, violating_pairs=np.zeros((0, 2), np.int64), violating_since_s=np.zeros(0),
    violating_people=np.zeros(0, np.int64),
)  # fmt: skip
# A camera whose calibration does not hold: that nobody is too close says nothing.
UNKNOWN = replace(NOBODY, in_metres=False)
IN_A_REGION = {"region": [(-5.0, 0.0), (5.0, 0.0), (5.0, 20.0), (-5.0, 20.0)]}
# Seconds that an event survives, as is the default.
GAP_S = 2.0


class Book:
    """A rule book and a clock; ``at`` shows it a frame, ``hear`` a notice, and both return what is told."""

    def __init__(self, *rules, quiet=None, region=None):
        config = AlertsConfig.model_validate({"rules": rules, "quiet_hours": quiet})
        self.book = RuleBook(config, {"door": MetricsConfig(region_m=region)}, "run")
        self._event = {}

    def at(self, seconds, result, camera="door"):
        shown = replace(result, time_s=float(seconds))
        if len(result.violating_pairs):
            since_s, last_s = self._event.get(camera, (seconds, seconds))
            since_s = since_s if seconds - last_s <= GAP_S else seconds
            self._event[camera] = (since_s, seconds)
            shown = replace(shown, violating_since_s=np.full(len(result.violating_pairs), float(since_s)))
        return list(self.book.see(camera, float(seconds), NOON + seconds, shown))

    def hear(self, seconds, ok, kind="source", camera="door", sentence="the camera is gone"):
        notice = StatusNotice(camera, kind, ok, sentence, NOON + seconds)
        return list(self.book.hear(notice, float(seconds), NOON + seconds))

    def tick(self, seconds):
        return list(self.book.tick(float(seconds), NOON + seconds))


def rule(kind, **more):
    return {"name": "r", "kind": kind, "sustained_s": 10, "cooldown_s": 60, "clear_s": 5, **more}


def told(book, frames, **more):
    """Show frames, (second, result), and return (second, state) of what is told."""
    return [(second, alert.state) for second, result in frames for alert in book.at(second, result, **more)]


def test_a_violation_is_told_once_when_it_has_lasted_and_once_when_it_is_over():
    frames = [(s, CLOSE if s < 25 else NOBODY) for s in range(40)]
    book = Book(rule("violation"))
    assert told(book, frames) == [(10, "firing"), (29, "recovered")]


def test_the_alert_says_for_how_long_and_where_and_its_recovery_has_the_same_number():
    book = Book(rule("violation"))
    alerts = [a for s in range(40) for a in book.at(s, CLOSE if s < 25 else NOBODY)]
    assert alerts[0].sentence == "two people have been too close for 10 s at door"
    assert {a.alert for a in alerts} == {"run-a1"}


def test_a_violation_that_is_interrupted_begins_anew_but_survives_a_missed_frame():
    assert told(Book(rule("violation")), [(s, CLOSE if s != 5 else NOBODY) for s in range(12)]) == [(10, "firing")]
    assert told(Book(rule("violation")), [(s, NOBODY if 5 <= s <= 8 else CLOSE) for s in range(18)]) == []


def test_people_who_walk_together_can_be_left_out():
    together = replace(CLOSE, pairs=replace(CLOSE.pairs, same_group=np.ones(len(CLOSE.pairs), np.bool_)))
    frames = [(s, together) for s in range(15)]
    assert told(Book(rule("violation")), frames) == [(10, "firing")]
    assert told(Book(rule("violation", groups=False)), frames) == []


STEP_S = 0.1


def told_and_stored(rules, events, until_s, people_at):
    """Run (ids, places) of each frame through everything after the tracker; returns alerts and events."""
    book = RuleBook(AlertsConfig.model_validate({"rules": rules}), {"door": MetricsConfig()}, "run")
    detector, successors, alerts, closed = EventDetector(2.0, events), Successors(events.max_gap_s), [], []
    for index in range(round(until_s / STEP_S)):
        time_s = index * STEP_S
        ids, xy_m = people_at(time_s)
        ground = GroundPoints(
            np.array(xy_m, np.float64).reshape(-1, 2), np.zeros((len(ids), 2, 2)), np.ones(len(ids), np.bool_),
            np.zeros((len(ids), 0, 2)),
        )  # fmt: skip
        for lost, new in successors.update(time_s, np.array(ids), ground):
            detector.go_on(lost, new)
        pairs = measure_pairs(np.array(ids), ground, 2.0)
        closed += detector.update(time_s, pairs)
        now = detector.violating_pairs(time_s)
        result = replace(NOBODY, time_s=time_s, pairs=pairs, violating_pairs=now,
                         violating_since_s=detector.began_s(now), violating_people=np.unique(now))  # fmt: skip
        alerts += book.see("door", time_s, NOON + time_s, result)
    return alerts, [*closed, *detector.finish()]


BESIDE = [(0.0, 5.0), (1.0, 5.0)]


@pytest.mark.parametrize(
    "people_at",
    [
        lambda time_s: ([1, 2] if time_s < 5 else [1, 7], BESIDE),
        lambda time_s: ([1, 2], BESIDE) if not 4 < time_s < 8 else ([1], BESIDE[:1]),
    ],
    ids=["one of them goes on under another id", "one of them is not seen for four seconds"],
)
def test_an_event_that_is_stored_as_long_enough_is_told(people_at):
    last_s = 10.15
    alerts, events = told_and_stored(
        [rule("violation")], EventConfig(max_gap_s=5.0), 25.0,
        lambda time_s: people_at(time_s) if time_s < last_s else ([], []),
    )  # fmt: skip
    assert [round(event.duration_s, 1) for event in events] == [10.1]
    assert [alert.state for alert in alerts] == ["firing", "recovered"]


@pytest.mark.parametrize("gap_s", [0.5, 2.0, 5.0])
def test_an_event_that_is_stored_as_too_short_is_not_told(gap_s):
    # Two of six seconds, one second apart from each other: one event or two, by the configuration.
    alerts, events = told_and_stored(
        [rule("violation")], EventConfig(max_gap_s=gap_s), 25.0,
        lambda time_s: ([1, 2], BESIDE) if time_s <= 6 or 7 <= time_s <= 13 else ([], []),
    )  # fmt: skip
    assert bool(alerts) == any(event.duration_s >= 10 for event in events) == (gap_s > 1)


def test_one_person_is_told_as_one():
    book = Book(rule("occupancy", above=0), region=[(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)])
    (alert,) = [alert for second in range(12) for alert in book.at(second, CLOSE)]
    assert alert.sentence == "1 person at door, more than 0"


def test_occupancy_counts_in_the_region_only():
    frames = [(s, CLOSE) for s in range(12)]
    left_half = [(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)]
    assert told(Book(rule("occupancy", above=1)), frames) == [(10, "firing")]
    assert told(Book(rule("occupancy", above=1), region=left_half), frames) == []
    assert told(Book(rule("occupancy", above=0), region=left_half), frames) == [(10, "firing")]


def test_another_region_is_judged_from_the_next_frame_on():
    book = Book(rule("occupancy", above=1))
    assert told(book, [(s, CLOSE) for s in range(12)]) == [(10, "firing")]
    book.book.use_places("door", MetricsConfig(region_m=[(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0), (-0.5, 8.0)]))
    assert told(book, [(s, CLOSE) for s in range(12, 20)]) == [(16, "recovered")]


def test_cool_down_keeps_a_second_alert_back_until_it_is_over():
    frames = [(s, NOBODY if 20 <= s < 30 else CLOSE) for s in range(100)]
    assert told(Book(rule("violation")), frames) == [(10, "firing"), (24, "recovered"), (70, "firing")]


def test_quiet_hours_keep_an_alert_back_and_tell_it_after_them_if_it_still_lasts():
    quiet = {"start": "11:00", "end": "12:01"}
    assert told(Book(rule("violation"), quiet=quiet), [(s, CLOSE) for s in range(90)]) == [(60, "firing")]
    short = [(s, CLOSE if s < 30 else NOBODY) for s in range(90)]
    assert told(Book(rule("violation"), quiet=quiet), short) == []
    assert told(Book(rule("violation", ignore_quiet_hours=True), quiet=quiet), short)[0] == (10, "firing")


def test_a_recovery_in_quiet_hours_is_told_after_them():
    frames = [(s, CLOSE if s < 70 else NOBODY) for s in range(0, 200)]
    quiet = {"start": "12:01", "end": "12:03"}
    assert told(Book(rule("violation"), quiet=quiet), frames) == [(10, "firing"), (180, "recovered")]


def test_a_fault_is_told_when_it_has_lasted_even_though_no_frame_comes_and_its_end_too():
    book = Book(rule("fault", clear_s=0))
    assert book.hear(0, ok=False) == []
    assert book.tick(9) == []
    (alert,) = book.tick(11)
    assert (alert.state, alert.camera, alert.sentence) == ("firing", "door", "the camera is gone")
    assert book.hear(20, ok=False, sentence="still gone") == []
    assert [a.state for a in book.hear(30, ok=True)] == ["recovered"]


@pytest.mark.parametrize("kind", ["source", "accelerator", "pipeline", "storage"])
def test_a_fault_of_every_part_of_the_system_is_told_and_its_recovery_too(kind):
    book = Book(rule("fault", clear_s=0, cooldown_s=0))
    camera = "" if kind == "storage" else "door"
    book.hear(0, ok=False, kind=kind, camera=camera)
    assert [alert.state for alert in book.tick(11)] == ["firing"]
    assert [alert.state for alert in book.hear(20, ok=True, kind=kind, camera=camera)] == ["recovered"]


def test_a_camera_that_was_moved_is_told_where_that_is_asked_for():
    for about, expected in ((None, []), (["calibration"], ["firing"])):
        book = Book(rule("fault", **({"about": about} if about else {})))
        book.hear(0, ok=False, kind="calibration")
        assert [alert.state for alert in book.tick(11)] == expected


def test_two_faults_are_over_when_both_are():
    book = Book(rule("fault", clear_s=0))
    book.hear(0, ok=False, kind="source")
    book.hear(1, ok=False, kind="accelerator")
    assert [alert.state for alert in book.tick(11)] == ["firing"]
    assert book.hear(20, ok=True, kind="source") == []
    assert [alert.state for alert in book.hear(25, ok=True, kind="accelerator")] == ["recovered"]


def test_a_fault_that_passes_quickly_or_is_not_asked_for_is_not_told():
    book = Book(rule("fault", about=["accelerator"]))
    assert book.hear(0, ok=False) + book.tick(60) == []
    assert book.hear(70, ok=False, kind="accelerator") == []
    assert book.hear(72, ok=True, kind="accelerator") + book.tick(100) == []


def test_rules_are_kept_apart_by_camera_and_can_be_for_one_only():
    both = Book(rule("violation"))
    for second in range(12):
        both.at(second, NOBODY, camera="yard")
    assert told(both, [(s, CLOSE) for s in range(12)]) == [(10, "firing")]
    assert told(Book(rule("violation", cameras=["yard"])), [(s, CLOSE) for s in range(12)]) == []


def left_open(kind="violation", name="r", camera="door", seconds=-100.0, number=4):
    return Alert(f"before-a{number}", name, kind, camera, "firing", "as it was", NOON + seconds)


def restarted(book, *alerts, away_s=60.0, last_told=None):
    told_utc_s = {(alert.rule, alert.camera): alert.utc_s for alert in alerts} if last_told is None else last_told
    book.book.take_over(LeftOpen(alerts, told_utc_s, away_s), 0.0, NOON)
    return book


def test_an_alert_that_still_holds_after_a_restart_goes_on_under_its_id_and_is_not_told_anew():
    book = restarted(Book(rule("violation")), left_open())
    frames = [(s, CLOSE if s < 90 else NOBODY) for s in range(200)]
    told_now = [(s, a.state, a.alert) for s, result in frames for a in book.tick(s) + book.at(s, result)]
    assert told_now == [(94, "recovered", "before-a4")]
    assert [a.alert for s in range(200, 230) for a in book.at(s, CLOSE)] == ["run-a1"]


def test_an_alert_whose_reason_went_while_the_program_was_stopped_is_over_after_a_while():
    book = restarted(Book(rule("violation")), left_open())
    (alert,) = [a for s in range(60) for a in book.at(s, NOBODY)]
    assert (alert.state, alert.alert, alert.utc_s) == ("recovered", "before-a4", NOON + 40)


def test_a_fault_goes_on_after_a_restart_or_is_over_though_no_notice_comes():
    lasting = restarted(Book(rule("fault", clear_s=0)), left_open("fault"))
    assert lasting.tick(0) + lasting.hear(20, ok=False) + lasting.tick(90) == []
    assert [(a.state, a.alert) for a in lasting.hear(100, ok=True)] == [("recovered", "before-a4")]
    gone = restarted(Book(rule("fault", clear_s=0)), left_open("fault"))
    assert [a for s in range(100) for a in gone.tick(s)] == []
    # The model has loaded, a camera is live: from here on it counts that the fault does not show.
    assert gone.at(100, NOBODY) == []
    assert [(s, a.alert) for s in range(100, 160) for a in gone.tick(s)] == [(140, "before-a4")]


def test_a_violation_is_over_when_its_camera_gives_no_picture_for_long():
    taken_over = restarted(Book(rule("violation")), left_open())
    taken_over.hear(1, ok=False)
    assert [(s, a.state, a.alert) for s in range(0, 1000, 10) for a in taken_over.tick(s)] == [
        (910, "recovered", "before-a4")
    ]
    book = Book(rule("violation"))
    assert told(book, [(s, CLOSE) for s in range(12)]) == [(10, "firing")]
    (over,) = [a for s in range(12, 1000) for a in book.tick(s)]
    assert (over.utc_s, over.sentence) == (NOON + 912, "over: alert 'r' at door, where no picture came for 15 min")
    # Whoever is there when it comes back makes an alert of their own.
    assert told(book, [(s, CLOSE) for s in range(1000, 1020)]) == [(1010, "firing")]


@pytest.mark.parametrize("kind", [{"kind": "violation"}, {"kind": "occupancy", "above": 1}])
def test_an_alert_stays_while_metres_are_lost_and_goes_on_under_its_id(kind):
    lasting = [(s, UNKNOWN if 12 <= s < 600 else CLOSE) for s in range(700)]
    assert told(Book(rule(**kind), **IN_A_REGION), lasting) == [(10, "firing")]


def test_an_alert_whose_reason_went_while_metres_were_lost_is_over_once_that_is_known():
    # For as long as a lasting violation takes to be long enough again, that none shows says nothing yet.
    gone = [(s, CLOSE if s < 12 else UNKNOWN if s < 600 else NOBODY) for s in range(700)]
    assert told(Book(rule("violation")), gone) == [(10, "firing"), (615, "recovered")]
    # Neither do seconds without the reason before and after add up with those in between.
    twice = [(s, CLOSE if s < 12 else UNKNOWN if 14 <= s < 600 or 608 <= s < 800 else NOBODY) for s in range(900)]
    assert told(Book(rule("violation")), twice) == [(10, "firing"), (815, "recovered")]


def test_time_of_which_nothing_is_known_makes_no_alert():
    full = [(s, UNKNOWN if 5 <= s < 60 else CLOSE) for s in range(75)]
    assert told(Book(rule("occupancy", above=1), **IN_A_REGION), full) == [(70, "firing")]
    silent = [(s, CLOSE) for s in (0, 1, 2, *range(60, 75))]
    assert told(Book(rule("occupancy", above=1)), silent) == [(70, "firing")]
    assert told(Book(rule("violation")), [(s, CLOSE if s < 8 else UNKNOWN) for s in range(100)]) == []


def test_an_alert_that_cool_down_holds_back_is_not_told_while_nothing_is_known():
    def shown(second):
        return NOBODY if 20 <= second < 30 else UNKNOWN if 50 <= second < 200 else CLOSE if second < 200 else NOBODY

    assert told(Book(rule("violation")), [(s, shown(s)) for s in range(300)]) == [(10, "firing"), (24, "recovered")]


def test_an_alert_stays_while_its_camera_gives_no_picture():
    lasting = [(s, NOBODY if 60 <= s < 62 else CLOSE) for s in (*range(12), *range(60, 90))]
    assert told(Book(rule("violation")), lasting) == [(10, "firing")]
    assert told(Book(rule("occupancy", above=1, clear_s=0)), [(s, CLOSE) for s in (*range(12), *range(60, 90))]) == [
        (10, "firing")
    ]
    # What is known to be broken is not known from then on, not only once the last picture is old.
    book = Book(rule("violation"))
    assert told(book, [(s, CLOSE) for s in range(12)]) == [(10, "firing")]
    book.hear(12, ok=False)
    assert told(book, [(s, NOBODY if s < 17 else CLOSE) for s in range(15, 40)]) == []


def test_an_alert_is_over_when_nothing_was_known_in_metres_for_long():
    book = Book(rule("violation"))
    assert told(book, [(s, CLOSE if s < 12 else UNKNOWN) for s in range(900)]) == [(10, "firing")]
    (over,) = [a for s in range(900, 1000) for a in [*book.at(s, UNKNOWN), *book.tick(s)]]
    assert (over.utc_s, over.sentence) == (
        NOON + 912, "over: alert 'r' at door, where nothing was known in metres for 15 min",
    )  # fmt: skip


def test_an_alert_of_before_a_restart_waits_until_its_reason_can_be_told():
    book = restarted(Book(rule("violation")), left_open())
    shown = [(s, UNKNOWN if s < 300 else NOBODY) for s in range(400)]
    assert told(book, shown) == [(340, "recovered")]


def test_after_a_long_stop_an_alert_is_over_and_told_anew_if_it_holds_again():
    book = restarted(Book(rule("violation")), left_open(seconds=-1000.0), away_s=901.0)
    (over,) = book.tick(1)
    assert (over.state, over.alert, over.sentence) == (
        "recovered", "before-a4", "over: alert 'r' at door, told before the program was started anew",
    )  # fmt: skip
    assert told(book, [(s, CLOSE) for s in range(2, 20)]) == [(12, "firing")]


def test_cool_down_counts_from_an_alert_of_before_a_restart():
    book = restarted(Book(rule("violation", cooldown_s=1200)), left_open(seconds=-1000.0), away_s=901.0)
    assert told(book, [(s, CLOSE) for s in range(250)]) == [(200, "firing")]


@pytest.mark.parametrize(
    "alert", [left_open(name="gone"), left_open(camera="yard"), left_open("occupancy")], ids=["rule", "camera", "kind"]
)
def test_what_is_no_longer_configured_is_over_at_once(alert):
    assert [a.state for a in restarted(Book(rule("violation")), alert).tick(0)] == ["recovered"]


def test_of_several_open_alerts_of_one_rule_the_newest_goes_on_and_the_others_are_over():
    book = restarted(Book(rule("violation")), left_open(number=4, seconds=-300.0), left_open(number=5))
    assert [(a.alert, a.untold) for a in book.tick(0)] == [("before-a4", True)]
    assert [(s, a.alert) for s in range(60) for a in book.at(s, NOBODY)] == [(40, "before-a5")]


def test_what_ended_while_stopped_is_told_after_quiet_hours():
    quiet = {"start": "11:00", "end": "12:01"}
    book = restarted(Book(rule("violation"), quiet=quiet), left_open(name="gone"))
    assert [s for s in range(90) for _ in book.tick(s)] == [60]
    loud = restarted(Book(rule("violation", ignore_quiet_hours=True), quiet=quiet), left_open(), away_s=901.0)
    assert [s for s in range(90) for _ in loud.tick(s)] == [0]


def test_cool_down_counts_from_an_alert_that_was_over_before_a_restart():
    book = restarted(Book(rule("violation", cooldown_s=300)), last_told={("r", "door"): NOON - 100, ("x", "y"): NOON})
    assert told(book, [(s, CLOSE) for s in range(250)]) == [(200, "firing")]


def test_a_condition_of_no_length_holds_at_once_and_clears_after_its_time():
    condition = Sustained(0.0, 2.0)
    assert [condition.update(t, t in (1, 4)) for t in range(8)] == [False, True, True, False, True, True, False, False]


@pytest.mark.parametrize(
    ("start", "end", "zone", "expected"),
    [
        ("22:00", "06:00", "UTC", False),
        ("12:00", "12:01", "UTC", True),
        ("13:00", "14:00", "Europe/Berlin", True),
        ("11:00", "12:00", "UTC", False),
        ("22:00", "12:30", "UTC", True),
    ],
)
def test_quiet_hours_know_midnight_and_time_zones(start, end, zone, expected):
    assert Quiet(QuietHours(start=start, end=end, time_zone=zone)).at(NOON) is expected


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"rules": [{"name": "a", "kind": "violatoin"}]}, "violatoin"),
        ({"rules": [{"name": "a", "kind": "occupancy"}]}, "above"),
        ({"rules": [{"name": "a", "kind": "fault", "sustaind_s": 3}]}, "did you mean 'sustained_s'"),
        ({"rules": [{"name": "a", "kind": "fault", "zzz": 3}]}, r"known keys: name, cameras, .*about"),
        ({"quiet_hours": {"start": "22:00", "end": "06:00", "timezone": "UTC"}}, "did you mean 'time_zone'"),
        ({"receivers": {"webhooks": [{"urls": "http://a/"}]}}, "did you mean 'url'"),
        ({"rules": [rule("violation"), rule("fault")]}, "two rules are named 'r'"),
        ({"quiet_hours": {"start": "24:00", "end": "06:00"}}, "such as 22:00"),
        ({"quiet_hours": {"start": "22:00", "end": "06:00", "time_zone": "Mars"}}, "Europe/Berlin"),
        ({"receivers": {"webhooks": [{"url": "ftp://example.org/"}]}}, "such as https://"),
        ({"receivers": {"webhooks": [{"url": "https://u:p@example.org/"}]}}, "must not hold a name or password"),
        ({"receivers": {"webhooks": [{"url": "http://example.org/\r\nX: y"}]}}, "such as https://"),
        ({"receivers": {"webhooks": [{"url": "https://a.example/"}] * 2}}, "there twice"),
        ({"receivers": {"apprise": ["mailto://me:secret@example.org"]}}, "env:NAME or file:PATH"),
    ],
)
def test_a_wrong_section_is_one_sentence(tmp_path, section, said):
    with pytest.raises(UserError, match=said):
        parse_config({"alerts": section}, "c.yaml", tmp_path)


def test_alerts_without_storage_are_refused(tmp_path):
    with pytest.raises(UserError, match="need storage"):
        parse_config({"alerts": {"rules": [rule("fault")]}, "storage": {"enabled": False}}, "c.yaml", tmp_path)

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from itertools import islice

import pytest

from edge_app.storage.wiring import open_sinks
from tests.edge_app.storage.killed_while_writing import History, configuration, frames_of
from tests.edge_app.storage.made import NOON


@pytest.fixture
def watched(tmp_path):
    """The database of a run of a hundred frames, over three minutes, that ended in order."""
    config = configuration(tmp_path, commit_s=0.02)
    with open_sinks(config) as sinks:
        for result in islice(frames_of(0), 100):
            sinks[0].accept("round-0", NOON + result.time_s, result)
    return config.storage.path


def test_a_whole_history_passes_the_checks(watched):
    history = History(watched)
    assert history.findings() == []
    assert history.events(0) == list(range(100))
    assert history.frames_in_minutes(0) == 100
    assert history.counts() == {"events": 100, "minutes": 4, "messages_on_events": 100, "messages_on_minutes": 4}


_COLUMNS = {
    "event": "camera, start_utc_s, end_utc_s, duration_s, id_a, id_b, min_distance_m, mean_distance_m, same_group",
    "minute": "camera, minute_utc_s, watched_s, people, violating_people, violating_pairs, person_s, exposed_person_s, "
    "violating_pair_s, occupancy_max, density_per_m2, passed_in, passed_out, heat, closed",
    "outbox": "channel, topic, payload, created_utc_s",
}


def twice(table, seq):
    """Put a row in once more, under another uid."""
    columns = _COLUMNS[table]
    return f"INSERT INTO {table} (uid, {columns}) SELECT 'other', {columns} FROM {table} WHERE seq = {seq}"


# Minutes by their time: one that was stored while it ran leaves a gap in their numbers.
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (twice("event", 1), "event (0, 0) is there 2 times"),
        (twice("minute", 1), "minute ('round-0', 1767268800) is there 2 times"),
        (twice("outbox", 1), "message on an event (0, 0) is there 2 times"),
        (twice("outbox", 104), "message on a minute ('round-0', 1767268980) is there 2 times"),
        ("DELETE FROM event WHERE seq = 50", "there are gaps"),
        ("DELETE FROM event WHERE seq = 100", "messages without their events"),
        ("DELETE FROM minute WHERE minute_utc_s = 1767268860", "minute 1 begins at"),
        ("DELETE FROM outbox WHERE seq = 7", "events without their message"),
        ("DELETE FROM outbox WHERE seq = 104", "minutes without their message"),
        ("UPDATE outbox SET payload = replace(payload, '60.0', '59.0')", "messages without their minutes"),
        ("UPDATE minute SET watched_s = 58 WHERE minute_utc_s = 1767268860", "has 58.0 s"),
        ("UPDATE minute SET person_s = person_s - 1 WHERE minute_utc_s = 1767268920", "minute 2 of 60.0 s has"),
    ],
)  # fmt: skip
def test_what_a_kill_must_not_do_is_found(watched, change, said):
    connection = sqlite3.connect(watched)
    connection.execute(change)
    connection.commit()
    connection.close()
    assert said in " ".join(History(watched).findings())


def test_a_damaged_file_is_found(watched):
    damaged = bytearray(watched.read_bytes())
    for page in range(1, len(damaged) // 4096):
        damaged[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    watched.write_bytes(damaged)
    assert History(watched).findings()[0].startswith("integrity: ")


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "commit_s", "longest_s"), [(50, 0.03, 0.15), (4, 0.5, 2.4)])
def test_a_killed_run_loses_at_most_a_second_and_history_is_whole_with_nothing_twice(
    tmp_path, rounds, commit_s, longest_s
):
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge_app.storage.killed_while_writing", str(tmp_path), str(rounds),
         str(commit_s), str(longest_s)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["findings"] == []
    assert len(result["lost_events_s"]) == len(result["lost_minutes_s"]) == rounds
    assert max(result["lost_events_s"]) < 1.0
    assert max(result["lost_minutes_s"]) < 1.0
    # What was killed was at work: there were events, and minutes that ended meanwhile, in most rounds.
    assert 10 * rounds < result["events"] <= sum(result["frames"]) + rounds
    assert result["minutes"] > rounds
    assert (result["messages_on_events"], result["messages_on_minutes"]) == (result["events"], result["minutes"])
    assert result["open_minutes"] == 0

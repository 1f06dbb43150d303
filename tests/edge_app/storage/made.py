"""Events, minutes and results for tests of history."""

from __future__ import annotations

from dataclasses import replace

from edge_app.records import ViolationEvent
from edge_app.storage import MinuteAggregate, StoredEvent
from edge_app.storage.rows import StoredAlert
from tests.edge_app.scenes import results_of

NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC


# Of a minute without a calibration that holds: with a region, so that the people in it are not known either.
WITHOUT_METRES = dict.fromkeys(
    ("violating_people", "violating_pairs", "person_s", "exposed_person_s", "violating_pair_s", "occupancy_max")
)


def event(number=0, camera="door", start=NOON, seconds=4.0, **more):
    values = {"id_a": 1, "id_b": 2, "min_distance_m": 0.8, "mean_distance_m": 1.2, "same_group": False, **more}
    return StoredEvent(f"run-{number}", camera, start, start + seconds, seconds, **values)


def minute(number=0, camera="door", start=int(NOON), **more):
    values = {
        "watched_s": 60.0, "people": 3, "violating_people": 2, "violating_pairs": 1, "person_s": 90.0,
        "exposed_person_s": 20.0, "violating_pair_s": 10.0, "occupancy_max": 3, "heat": {(0, 0): 60.0, (1, -2): 30.0},
    }  # fmt: skip
    return MinuteAggregate(f"run-m{number}", camera, start, **{**values, **more})


def alert(number=0, utc_s=NOON, **more):
    values = {"rule": "full", "kind": "occupancy", "camera": "door", "state": "firing", **more}
    return StoredAlert(f"a{number}", f"full-{number}", sentence=f"{number}", utc_s=utc_s, **values)


def two_people(frames=15, fps=10.0, first=0, apart_m=1.0):
    """Results of two people who stand one metre apart; frame ``first`` is at ``first / fps`` seconds."""
    results = results_of([[0.0, 6.0], [apart_m, 6.0]], frames=frames, fps=fps)
    return [replace(r, index=r.index + first, time_s=r.time_s + first / fps) for r in results]


def with_event(result, number=1, start_s=0.0, end_s=2.0):
    closed = ViolationEvent(number, 1, 2, start_s, end_s, 0.9, 1.1, True)
    return replace(result, closed_events=(closed,))


def damage(writer, table):
    """Overwrite the root pages of a table and its indices, as a broken card may; nothing of them is cached."""
    connection = writer.connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", [table]).fetchall()
    connection.execute("PRAGMA shrink_memory")
    with writer.path.open("r+b") as stream:
        for (root,) in roots:
            stream.seek((root - 1) * size)
            stream.write(b"\xff" * size)

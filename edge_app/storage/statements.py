"""What is written, as SQL. Each statement can be carried out again without anything being there twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_app.sinks import StatusNotice
from edge_app.storage.rows import MinuteAggregate, StoredAlert, StoredEvent, pack_heat


@dataclass(frozen=True)
class Statement:
    """One change of the database.

    Attributes:
        sql: with ``?`` for the parameters.
        parameters: plain values.
        durable: must outlive a power cut from the commit on; else it may be lost with the last seconds before one
            (never by the process being killed), which spares the flash.
        urgent: is stored although the disk is nearly full: few, small, and somebody waits for it.
    """

    sql: str
    parameters: tuple[Any, ...]
    durable: bool = True
    urgent: bool = False


def add_event(event: StoredEvent) -> Statement:
    """Store an event."""
    return Statement(
        """INSERT INTO event (uid, camera, start_utc_s, end_utc_s, duration_s, id_a, id_b, min_distance_m,
        mean_distance_m, same_group) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO NOTHING""",
        (
            event.uid, event.camera, event.start_utc_s, event.end_utc_s, event.duration_s, event.id_a, event.id_b,
            event.min_distance_m, event.mean_distance_m, event.same_group,
        ),
    )  # fmt: skip


_MINUTE_FIGURES = (
    "watched_s", "people", "violating_people", "violating_pairs", "person_s", "exposed_person_s", "violating_pair_s",
    "occupancy_max", "density_per_m2", "passed_in", "passed_out",
)  # fmt: skip
_MINUTE_COLUMNS = ("uid", "camera", "minute_utc_s", *_MINUTE_FIGURES, "heat", "closed")


def put_minute(minute: MinuteAggregate, closed: bool) -> Statement:
    """Store a minute as far as it has come, in place of what was stored of it before."""
    changed = ", ".join(f"{name} = excluded.{name}" for name in (*_MINUTE_FIGURES, "heat", "closed"))
    return Statement(
        f"""INSERT INTO minute ({", ".join(_MINUTE_COLUMNS)}) VALUES ({", ".join("?" for _ in _MINUTE_COLUMNS)})
        ON CONFLICT (uid) DO UPDATE SET {changed}""",
        (minute.uid, minute.camera, minute.minute_utc_s, *_figures(minute), closed),
        durable=closed,
    )


def update_minute(minute: MinuteAggregate) -> Statement:
    """Store how far a minute has come that was stored before: writes one page, where ``put_minute`` writes three."""
    changed = ", ".join(f"{name} = ?" for name in (*_MINUTE_FIGURES, "heat"))
    return Statement(f"UPDATE minute SET {changed} WHERE uid = ?", (*_figures(minute), minute.uid), durable=False)


def _figures(minute: MinuteAggregate) -> tuple[Any, ...]:
    return (*(getattr(minute, name) for name in _MINUTE_FIGURES), pack_heat(minute.heat))


def add_notice(uid: str, notice: StatusNotice) -> Statement:
    """Store a notice."""
    return Statement(
        """INSERT INTO notice (uid, camera, kind, ok, sentence, utc_s) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (uid) DO NOTHING""",
        (uid, notice.camera, notice.kind, notice.ok, notice.sentence, notice.utc_s),
    )


def add_alert(alert: StoredAlert) -> Statement:
    """Store an alert or its recovery."""
    return Statement(
        """INSERT INTO alert (uid, alert, rule, kind, camera, state, sentence, utc_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (uid) DO NOTHING""",
        (alert.uid, alert.alert, alert.rule, alert.kind, alert.camera, alert.state, alert.sentence, alert.utc_s),
        urgent=True,
    )


def put_run(run: str, started_utc_s: float, version: str, fingerprints: str, watched_utc_s: float) -> Statement:
    """Store with what a run works (version, and a JSON object of fingerprints), and until when it has watched."""
    return Statement(
        """INSERT INTO run (id, started_utc_s, version, fingerprints, watched_utc_s) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET watched_utc_s = excluded.watched_utc_s""",
        (run, started_utc_s, version, fingerprints, watched_utc_s),
        durable=False,
    )

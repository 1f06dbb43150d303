"""Reading history: what the dashboard, the API and the exports ask for."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from edge_app.errors import UserError
from edge_app.sinks import StatusNotice
from edge_app.storage.rows import (
    Bucket,
    HeatMap,
    MinuteAggregate,
    StoredAlert,
    StoredEvent,
    heat_map,
    mean_over,
    unpack_heat,
)
from edge_app.storage.schema import open_for_reading, open_for_writing

log = logging.getLogger(__name__)

MAX_PAGE = 1000
# Number of rows of an hour, the first and the last of them.
HourStamp = tuple[int, int, int]
_EXPORT_PAGE = 500
# Jumps in the index from each camera to the next, where SELECT DISTINCT would read all of it.
_CAMERAS = """WITH RECURSIVE found (name) AS (
        SELECT MIN(camera) FROM {table}
        UNION ALL SELECT (SELECT MIN(camera) FROM {table} WHERE camera > found.name) FROM found WHERE name IS NOT NULL
    ) SELECT name FROM found WHERE name IS NOT NULL"""
# Of a stretch of time. What is NULL was not measured: it adds nothing, and its time does not count for means.
_FIGURES = """SUM(watched_s) AS watched_s, SUM(person_s) AS person_s, SUM(exposed_person_s) AS exposed_person_s,
    SUM(violating_pair_s) AS violating_pair_s, MAX(occupancy_max) AS occupancy_max,
    SUM(density_per_m2 * watched_s) / SUM(CASE WHEN density_per_m2 IS NOT NULL THEN watched_s END) AS density_per_m2,
    SUM(passed_in) AS passed_in, SUM(passed_out) AS passed_out,
    SUM(CASE WHEN person_s IS NULL THEN 0.0 ELSE watched_s END) AS counted_s,
    SUM(CASE WHEN exposed_person_s IS NULL THEN 0.0 ELSE watched_s END) AS measured_s"""


@dataclass(frozen=True)
class TimeRange:
    """A stretch of time and, if one is named, a camera; what starts in it counts. Ends are None where open."""

    start_utc_s: Optional[float] = None
    end_utc_s: Optional[float] = None
    camera: Optional[str] = None

    def where(self, column: str) -> tuple[str, list[Any]]:
        """Return an SQL condition on ``column`` and its parameters."""
        parts: list[str] = []
        values: list[Any] = []
        for condition, value in (
            (f"{column} >= ?", self.start_utc_s),
            (f"{column} < ?", self.end_utc_s),
            ("camera = ?", self.camera),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        return " AND ".join(parts) or "1", values


@dataclass(frozen=True)
class EventPage:
    """Events, newest first.

    Attributes:
        events: of this page.
        total: number of events in the whole range.
        next_cursor: what to ask the next page with; None on the last.
    """

    events: list[StoredEvent]
    total: int
    next_cursor: Optional[str]


class Store:
    """History in an SQLite file, for any number of readers in any thread, also while it is written.

    A reader opens the file for each question: that takes a fraction of a millisecond and leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        """Name a store; see ``open``."""
        self.path = path

    @staticmethod
    def open(path: Path) -> Store:
        """Open the store at ``path``; make it, or bring its schema up to date, where needed.

        Raises:
            UserError: the file cannot be used.
        """
        open_for_writing(path).close()
        return Store(path)

    def cameras(self) -> list[str]:
        """Return the names of all cameras that history knows."""
        with self._reading() as connection:
            names = {
                row[0] for table in ("event", "minute") for row in connection.execute(_CAMERAS.format(table=table))
            }
            return sorted(names)

    def events(
        self,
        within: TimeRange = TimeRange(),
        limit: int = 100,
        cursor: Optional[str] = None,
        min_duration_s: float = 0.0,
        same_group: Optional[bool] = None,
        max_distance_m: Optional[float] = None,
    ) -> EventPage:
        """Return a page of events, newest first.

        Args:
            within: time range and camera.
            limit: rows of a page, 1 to ``MAX_PAGE``.
            cursor: ``next_cursor`` of the page before; None for the newest.
            min_duration_s: leave out shorter ones.
            same_group: only pairs that are, or are not, one group; None for all.
            max_distance_m: only ones in which the two came at least so close.

        Raises:
            UserError: limit or cursor is not one.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise UserError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
        where, values = within.where("start_utc_s")
        if min_duration_s > 0:
            where, values = f"{where} AND duration_s >= ?", [*values, min_duration_s]
        if same_group is not None:
            where, values = f"{where} AND same_group = ?", [*values, int(same_group)]
        if max_distance_m is not None:
            where, values = f"{where} AND min_distance_m <= ?", [*values, max_distance_m]
        with self._reading() as connection:
            total = int(connection.execute(f"SELECT COUNT(*) FROM event WHERE {where}", values).fetchone()[0])
            if cursor is not None:
                where, values = f"{where} AND (start_utc_s, seq) < (?, ?)", [*values, *_parse_cursor(cursor)]
            rows = connection.execute(
                f"SELECT * FROM event WHERE {where} ORDER BY start_utc_s DESC, seq DESC LIMIT ?", [*values, limit + 1]
            ).fetchall()
        page = rows[:limit]
        cursor = f"{page[-1]['start_utc_s']!r}:{page[-1]['seq']}" if len(rows) > limit else None
        return EventPage([_event(row) for row in page], total, cursor)

    def event(self, uid: str) -> Optional[StoredEvent]:
        """Return one event, or None."""
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM event WHERE uid = ?", [uid]).fetchone()
            return None if row is None else _event(row)

    def minutes(self, within: TimeRange = TimeRange()) -> list[MinuteAggregate]:
        """Return the figures of each minute, oldest first; a minute may come in several parts."""
        return list(self.all_minutes(within))

    def all_minutes(self, within: TimeRange = TimeRange()) -> Iterator[MinuteAggregate]:
        """Yield the figures of each minute of a range, oldest first, page by page as ``all_events`` does."""
        in_range, in_range_values = within.where("minute_utc_s")
        where, values = in_range, in_range_values
        while True:
            with self._reading() as connection:
                rows = connection.execute(
                    f"SELECT * FROM minute WHERE {where} ORDER BY minute_utc_s, seq LIMIT ?", [*values, _EXPORT_PAGE]
                ).fetchall()
            yield from map(minute_of, rows)
            if len(rows) < _EXPORT_PAGE:
                return
            where = f"{in_range} AND (minute_utc_s, seq) > (?, ?)"
            values = [*in_range_values, rows[-1]["minute_utc_s"], rows[-1]["seq"]]

    def series(self, within: TimeRange, bucket_s: int) -> list[Bucket]:
        """Return figures for a chart, oldest first; buckets without anything are left out.

        Args:
            within: time range and camera; buckets are aligned to multiples of their length since 1970.
            bucket_s: length of a bucket, seconds, a multiple of 60.

        Raises:
            UserError: ``bucket_s`` is not such a multiple.
        """
        if bucket_s < 60 or bucket_s % 60:
            raise UserError(f"bucket_s must be a positive multiple of 60, not {bucket_s}")
        where, values = within.where("minute_utc_s")
        event_where, event_values = within.where("start_utc_s")
        with self._reading() as connection:
            rows = connection.execute(
                f"""SELECT minute_utc_s / {bucket_s} * {bucket_s} AS start, {_FIGURES}
                    FROM minute WHERE {where} GROUP BY start""",
                values,
            ).fetchall()
            counts = connection.execute(
                f"""SELECT CAST(start_utc_s AS INTEGER) / {bucket_s} * {bucket_s} AS start, COUNT(*) FROM event
                    WHERE {event_where} GROUP BY start""",
                event_values,
            ).fetchall()
        return _buckets(rows, {int(row[0]): int(row[1]) for row in counts})

    def heat_map(self, within: TimeRange = TimeRange()) -> HeatMap:
        """Return where people spent their time; ``HeatHistory`` does it quicker again and again."""
        return heat_map(self.heat_cells(within))

    def heat_cells(self, within: TimeRange) -> list[bytes]:
        """Return the packed heat-map cells of each minute."""
        where, values = within.where("minute_utc_s")
        with self._reading() as connection:
            return [row[0] for row in connection.execute(f"SELECT heat FROM minute WHERE {where}", values)]

    def heat_cells_by_hour(self, within: TimeRange) -> dict[int, list[bytes]]:
        """Return the packed heat-map cells of each minute, by the start of their hour."""
        where, values = within.where("minute_utc_s")
        found: dict[int, list[bytes]] = {}
        with self._reading() as connection:
            for second, heat in connection.execute(f"SELECT minute_utc_s, heat FROM minute WHERE {where}", values):
                found.setdefault(second // 3600 * 3600, []).append(heat)
        return found

    def finished_hours(self, within: TimeRange) -> dict[int, HourStamp]:
        """Return start of each hour that has rows, none of them still being written, and what changes with its rows."""
        where, values = within.where("minute_utc_s")
        hour = "minute_utc_s / 3600 * 3600"
        with self._reading() as connection:
            unfinished = {row[0] for row in connection.execute(f"SELECT {hour} FROM minute WHERE closed = 0")}
            # The index has all of it: no row is read.
            rows = connection.execute(
                f"SELECT {hour} AS hour, COUNT(*), MIN(seq), MAX(seq) FROM minute WHERE {where} GROUP BY hour", values
            )
            return {row[0]: (row[1], row[2], row[3]) for row in rows if row[0] not in unfinished}

    def notices(self, within: TimeRange = TimeRange(), limit: int = 100) -> list[StatusNotice]:
        """Return notices, newest first."""
        return [_notice_of(row) for row in self._page("notice", within, limit)]

    def alerts(self, within: TimeRange = TimeRange(), limit: int = 100) -> list[StoredAlert]:
        """Return alerts and recoveries, newest first."""
        return [_alert_of(row) for row in self._page("alert", within, limit)]

    def all_notices(self, within: TimeRange = TimeRange()) -> Iterator[StatusNotice]:
        """Yield every notice of a range, newest first, page by page as ``all_events`` does."""
        return map(_notice_of, self._all_rows("notice", within))

    def all_alerts(self, within: TimeRange = TimeRange()) -> Iterator[StoredAlert]:
        """Yield every alert and recovery of a range, newest first, page by page as ``all_events`` does."""
        return map(_alert_of, self._all_rows("alert", within))

    def all_events(self, within: TimeRange = TimeRange()) -> Iterator[StoredEvent]:
        """Yield every event of a range, newest first, page by page, so that nothing is held or locked for long."""
        cursor: Optional[str] = None
        while True:
            page = self.events(within, _EXPORT_PAGE, cursor)
            yield from page.events
            cursor = page.next_cursor
            if cursor is None:
                return

    def statistics(self) -> dict[str, Any]:
        """Return size and counts for a system page."""
        with self._reading() as connection:
            counts = {
                f"{table}s": int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
                for table in ("event", "minute", "notice", "alert")
            }
            oldest = connection.execute("SELECT MIN(minute_utc_s) FROM minute").fetchone()[0]
            waiting = int(connection.execute("SELECT COUNT(*) FROM outbox").fetchone()[0])
        return {**counts, "oldest_utc_s": oldest, "outbox": waiting, "size_bytes": size_bytes(self.path)}

    def _all_rows(self, table: str, within: TimeRange) -> Iterator[sqlite3.Row]:
        after: Optional[tuple[float, int]] = None
        while True:
            rows = self._page(table, within, _EXPORT_PAGE, after)
            yield from rows
            if len(rows) < _EXPORT_PAGE:
                return
            after = (rows[-1]["utc_s"], rows[-1]["seq"])

    def _page(
        self, table: str, within: TimeRange, limit: int, after: Optional[tuple[float, int]] = None
    ) -> list[sqlite3.Row]:
        """Return rows of ``notice`` or ``alert``, newest first, those that come ``after`` time and number of one."""
        where, values = within.where("utc_s")
        if after is not None:
            where, values = f"{where} AND (utc_s, seq) < (?, ?)", [*values, *after]
        with self._reading() as connection:
            return connection.execute(
                f"SELECT * FROM {table} WHERE {where} ORDER BY utc_s DESC, seq DESC LIMIT ?", [*values, limit]
            ).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = open_for_reading(self.path)
        try:
            yield connection
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"history {self.path} cannot be read ({error}); check it with 'edge_app storage check'"
            ) from error
        finally:
            connection.close()


def size_bytes(path: Path) -> int:
    """Return the size on disk of a database with what waits beside it."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


@dataclass(frozen=True)
class LeftBehind:
    """What earlier runs left.

    Attributes:
        minutes: that were running when a run was killed.
        alerts: whose end was not stored, oldest first.
        last_told_utc_s: when an alert of a (rule, camera) was last told.
        watched_utc_s: when a run last watched or stored something, by the clock of that time; 0 if none did.
    """

    minutes: tuple[MinuteAggregate, ...]
    alerts: tuple[StoredAlert, ...]
    last_told_utc_s: dict[tuple[str, str], float]
    watched_utc_s: float


def read_left_behind(connection: sqlite3.Connection) -> LeftBehind:
    """Read what earlier runs left.

    Raises:
        sqlite3.DatabaseError: the database is damaged or can't be read.
    """
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    minutes = cursor.execute("SELECT * FROM minute WHERE closed = 0").fetchall()
    alerts = cursor.execute(
        """SELECT * FROM alert WHERE state = 'firing'
        AND alert NOT IN (SELECT alert FROM alert WHERE state = 'recovered') ORDER BY seq"""
    ).fetchall()
    # The one that was stored last, not the latest: a clock that was wrong once must not decide for ever.
    told = connection.execute(
        """SELECT rule, camera, utc_s FROM alert WHERE seq IN
        (SELECT MAX(seq) FROM alert WHERE state = 'firing' GROUP BY rule, camera)"""
    ).fetchall()
    newest = [connection.execute("SELECT watched_utc_s FROM run ORDER BY rowid DESC LIMIT 1").fetchone()]
    tables = {"minute": "minute_utc_s + watched_s", "event": "end_utc_s", "notice": "utc_s", "alert": "utc_s"}
    newest += [
        connection.execute(f"SELECT {time} FROM {table} ORDER BY seq DESC LIMIT 1").fetchone()
        for table, time in tables.items()
    ]
    return LeftBehind(
        tuple(minute for minute in map(_readable_minute, minutes) if minute is not None),
        tuple(_alert_of(row) for row in alerts),
        {(rule, camera): utc_s for rule, camera, utc_s in told},
        max((row[0] for row in newest if row is not None and row[0] is not None), default=0.0),
    )


def _notice_of(row: sqlite3.Row) -> StatusNotice:
    return StatusNotice(row["camera"], row["kind"], bool(row["ok"]), row["sentence"], row["utc_s"])


def _alert_of(row: sqlite3.Row) -> StoredAlert:
    return StoredAlert(**{name: row[name] for name in row.keys() if name != "seq"})  # noqa: SIM118


def _readable_minute(row: sqlite3.Row) -> Optional[MinuteAggregate]:
    try:
        return minute_of(row)
    except (ValueError, TypeError, struct.error) as error:
        log.error("minute %s can't be read (%s); it stays unfinished", row["uid"], error)
        return None


def minute_of(row: sqlite3.Row) -> MinuteAggregate:
    """Read a row of the table ``minute``."""
    fields = {name: row[name] for name in row.keys() if name not in ("seq", "heat", "closed")}  # noqa: SIM118
    return MinuteAggregate(**fields, heat=unpack_heat(row["heat"]))


def _event(row: sqlite3.Row) -> StoredEvent:
    fields = dict(row)
    del fields["seq"]
    together = fields["same_group"]
    return StoredEvent(**{**fields, "same_group": None if together is None else bool(together)})


def _parse_cursor(cursor: str) -> tuple[float, int]:
    start, _, seq = cursor.partition(":")
    try:
        return float(start), int(seq)
    except ValueError:
        raise UserError("cursor is not one that a page gave; leave it out to begin with the newest") from None


def _buckets(rows: list[sqlite3.Row], events: dict[int, int]) -> list[Bucket]:
    watched = {int(row["start"]): row for row in rows}
    found = []
    for start in sorted(watched.keys() | events.keys()):
        row = watched.get(start)
        if row is None:
            found.append(Bucket(start, 0.0, events[start], *(None,) * 8, counted_s=0.0, measured_s=0.0))
            continue
        found.append(
            Bucket(
                start, row["watched_s"], events.get(start, 0), mean_over(row["person_s"], row["counted_s"]),
                row["occupancy_max"], row["density_per_m2"], row["person_s"], row["exposed_person_s"],
                row["violating_pair_s"], row["passed_in"], row["passed_out"], row["counted_s"], row["measured_s"],
            )
        )  # fmt: skip
    return found

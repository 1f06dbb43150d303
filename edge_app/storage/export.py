"""History as rows for CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Literal

from edge_app.storage.store import Store, TimeRange

Row = dict[str, Any]
ExportKind = Literal["events", "minutes", "notices", "alerts"]

EVENT_COLUMNS = (
    "uid", "camera", "start_utc", "end_utc", "duration_s", "id_a", "id_b", "min_distance_m", "mean_distance_m",
    "same_group",
)  # fmt: skip
MINUTE_COLUMNS = (
    "camera", "minute_utc", "watched_s", "people", "violating_people", "violating_pairs", "occupancy_mean",
    "occupancy_max", "density_per_m2", "person_s", "exposed_person_s", "violating_pair_s", "passed_in", "passed_out",
)  # fmt: skip
NOTICE_COLUMNS = ("camera", "utc", "kind", "ok", "sentence")
ALERT_COLUMNS = ("uid", "alert", "rule", "kind", "camera", "state", "sentence", "utc")
COLUMNS: dict[str, tuple[str, ...]] = {
    "events": EVENT_COLUMNS,
    "minutes": MINUTE_COLUMNS,
    "notices": NOTICE_COLUMNS,
    "alerts": ALERT_COLUMNS,
}
# A table calculation takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def iso_utc(utc_s: float) -> str:
    """Write a time as ISO 8601 with milliseconds, such as ``2026-03-01T12:00:00.250Z``."""
    # The format cuts off what is beyond milliseconds.
    moment = datetime.fromtimestamp(round(utc_s, 3), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def export_rows(store: Store, kind: ExportKind, within: TimeRange) -> Iterator[Row]:
    """Yield the rows of a range with the columns of ``COLUMNS[kind]``: all but minutes newest first."""
    if kind == "events":
        for event in store.all_events(within):
            times = {"start_utc": iso_utc(event.start_utc_s), "end_utc": iso_utc(event.end_utc_s)}
            yield _row(EVENT_COLUMNS, {**vars(event), **times})
    elif kind == "minutes":
        for minute in store.all_minutes(within):
            more = {"minute_utc": iso_utc(minute.minute_utc_s), "occupancy_mean": minute.occupancy_mean}
            yield _row(MINUTE_COLUMNS, {**vars(minute), **more})
    elif kind == "notices":
        for notice in store.all_notices(within):
            yield _row(NOTICE_COLUMNS, {**vars(notice), "utc": iso_utc(notice.utc_s)})
    else:
        for alert in store.all_alerts(within):
            yield _row(ALERT_COLUMNS, {**vars(alert), "utc": iso_utc(alert.utc_s)})


def csv_lines(rows: Iterable[Row], columns: tuple[str, ...]) -> Iterator[str]:
    """Yield CSV lines (RFC 4180), the header first; nothing is empty, yes and no are 1 and 0."""
    yield _csv_line(columns)
    for row in rows:
        yield _csv_line([_cell(row[name]) for name in columns])


def json_parts(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the parts of one JSON array."""
    separator = "["
    for row in rows:
        yield separator + json.dumps(row, ensure_ascii=False)
        separator = ",\n"
    yield "]\n" if separator != "[" else "[]\n"


def _row(columns: tuple[str, ...], values: Row) -> Row:
    return {name: round(values[name], 4) if isinstance(values[name], float) else values[name] for name in columns}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _csv_line(values: Iterable[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(values)
    return stream.getvalue()

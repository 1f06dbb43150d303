"""What went on: events, figures over time, where people were, notices, exports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Literal, Optional

from flask import Response, abort
from pydantic import AwareDatetime, Field, RootModel, model_validator

from edge_app.config_section import Section
from edge_app.sinks import StatusNotice
from edge_app.storage.export import COLUMNS, csv_lines, export_rows, json_parts
from edge_app.storage.rows import Bucket, StoredAlert, StoredEvent
from edge_app.storage.store import Store, TimeRange
from edge_app.web.api.operation import CameraQuery, Operations
from edge_app.web.security.access import visitor
from edge_app.web.security.guard import address
from edge_app.web.site import Site

CURSOR = r"^-?\d{1,12}(\.\d{1,9})?(e\+?\d{1,2})?:\d{1,18}$"


class RangeQuery(CameraQuery):
    """A stretch of time, and a camera if only one is wanted."""

    start: Optional[AwareDatetime] = Field(
        None, alias="from", description="first moment, ISO 8601 with its zone, or seconds since 1970"
    )
    end: Optional[AwareDatetime] = Field(None, alias="to", description="first moment that does not count any more")

    @model_validator(mode="after")
    def _forwards(self) -> RangeQuery:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("'from' must be before 'to'")
        return self

    def within(self) -> TimeRange:
        """Return the range as the store wants it."""
        start_s = None if self.start is None else self.start.timestamp()
        return TimeRange(start_s, None if self.end is None else self.end.timestamp(), self.camera)


class EventsQuery(RangeQuery):
    """Which events."""

    limit: int = Field(50, ge=1, le=500, description="events of a page")
    cursor: Optional[str] = Field(None, pattern=CURSOR, description="'next_cursor' of the page before")
    min_duration_s: float = Field(0.0, ge=0, le=86_400, description="leave out shorter ones")
    max_distance_m: Optional[float] = Field(
        None, gt=0, le=100, description="only ones in which the two came at least so close, metres"
    )
    together: Optional[bool] = Field(None, description="only pairs that walk together, or only ones that do not")


class SeriesQuery(RangeQuery):
    """Which figures."""

    bucket_s: int = Field(3600, ge=60, le=31 * 86_400, multiple_of=60, description="seconds that are summed up")


class ExportQuery(RangeQuery):
    """Which rows, in which form."""

    format: Literal["csv", "json"] = "csv"


class NoticesQuery(RangeQuery):
    """Which notices or alerts."""

    limit: int = Field(100, ge=1, le=1000)


class Event(RootModel[StoredEvent]):
    """Two people were too close for a while."""


class Events(Section):
    """A page of events, newest first; ``total`` counts all that fit."""

    events: tuple[StoredEvent, ...]
    total: int
    next_cursor: Optional[str]


class Series(Section):
    """Figures over time, oldest first; stretches without anything are left out."""

    series: tuple[Bucket, ...]


class Heat(Section):
    """Person-seconds in each cell; rows along y, columns along x, metres."""

    cell_m: float
    x_m: float
    y_m: float
    person_s: tuple[tuple[float, ...], ...]


class Notices(Section):
    """What broke and was well again, newest first."""

    notices: tuple[StatusNotice, ...]


class Alerts(Section):
    """Alerts and recoveries, newest first."""

    alerts: tuple[StoredAlert, ...]


def history_of(site: Site) -> Store:
    """Return the history, or refuse where none is kept."""
    if site.store is None:
        abort(404, "no history is kept; set storage.enabled in the configuration")
    return site.store


def add_history(operations: Operations, site: Site) -> None:
    """Add the operations on what went on."""

    @operations.add("GET", "/events", "Events, newest first, page by page.", query=EventsQuery, answer=Events,
                    problems=(404,))  # fmt: skip
    def events(query: EventsQuery) -> Any:
        page = history_of(site).events(
            query.within(), query.limit, query.cursor, query.min_duration_s, query.together, query.max_distance_m
        )
        return Events(events=tuple(page.events), total=page.total, next_cursor=page.next_cursor)

    @operations.add("GET", "/events/<uid>", "One event.", answer=Event, problems=(404,))
    def event(uid: str) -> Any:
        found = history_of(site).event(uid)
        if found is None:
            abort(404, "there is no such event; it may be older than history is kept")
        return Event(found)

    @operations.add("GET", "/series", "Figures over time, for charts.", query=SeriesQuery, answer=Series,
                    problems=(404,))  # fmt: skip
    def series(query: SeriesQuery) -> Any:
        return Series(series=tuple(history_of(site).series(query.within(), query.bucket_s)))

    @operations.add("GET", "/heat", "Where people spent their time.", query=RangeQuery, answer=Heat, problems=(404,))
    def heat(query: RangeQuery) -> Any:
        history_of(site)
        found = site.heat(query.within())
        rows = tuple(tuple(row) for row in found.person_s.round(1).tolist())
        return Heat(cell_m=found.cell_m, x_m=found.x_m, y_m=found.y_m, person_s=rows)

    @operations.add("GET", "/notices", "What broke and was well again, newest first.", query=NoticesQuery,
                    answer=Notices, problems=(404,))  # fmt: skip
    def notices(query: NoticesQuery) -> Any:
        return Notices(notices=tuple(history_of(site).notices(query.within(), query.limit)))

    @operations.add("GET", "/alerts", "Alerts and recoveries, newest first.", query=NoticesQuery, answer=Alerts,
                    problems=(404,))  # fmt: skip
    def alerts(query: NoticesQuery) -> Any:
        return Alerts(alerts=tuple(history_of(site).alerts(query.within(), query.limit)))

    for kind in COLUMNS:
        _add_export(operations, site, kind)


def _add_export(operations: Operations, site: Site, kind: Any) -> None:
    def export(query: ExportQuery) -> Any:
        store = history_of(site)
        site.security.audit.write("export", who=visitor().name, address=address(), kind=kind, format=query.format)
        rows = export_rows(store, kind, query.within())
        # What cannot be read comes out with the first row: before the answer has begun.
        rows = itertools.chain(list(itertools.islice(rows, 1)), rows)
        is_csv = query.format == "csv"
        parts = csv_lines(rows, COLUMNS[kind]) if is_csv else json_parts(rows)
        answer = Response(_encoded(parts), mimetype="text/csv" if is_csv else "application/json")
        answer.headers["Content-Disposition"] = f"attachment; filename={kind}.{query.format}"
        return answer

    export.__name__ = f"export_{kind}"
    operations.add("GET", f"/export/{kind}", f"All {kind} of a stretch of time, as CSV or JSON.", query=ExportQuery,
                   media=("text/csv", "application/json"), problems=(404,))(export)  # fmt: skip


def _encoded(parts: Iterator[str]) -> Iterator[bytes]:
    # In larger pieces: a small one each line costs more than the line itself.
    waiting: list[str] = []
    for part in parts:
        waiting.append(part)
        if len(waiting) >= 200:
            yield "".join(waiting).encode()
            waiting.clear()
    yield "".join(waiting).encode()

"""The history: charts, heat map, events and each event."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, Literal, Optional

from flask import Blueprint, abort, render_template, request, url_for
from markupsafe import Markup
from pydantic import Field, model_validator
from werkzeug.datastructures import MultiDict

from edge_app.errors import UserError
from edge_app.storage.rows import mean_over
from edge_app.storage.store import TimeRange
from edge_app.web.api.history import CURSOR
from edge_app.web.api.operation import CameraQuery, read_query
from edge_app.web.charts import Stretch, events_chart, people_chart
from edge_app.web.heat_plan import heat_plan
from edge_app.web.security.guard import style_nonce
from edge_app.web.site import Site

_HOUR, _DAY = 3600, 86_400
_SPANS = {"hour": _HOUR, "day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}
# Length of a stretch of the charts for spans up to so long.
_BUCKETS = ((2 * _HOUR, 60), (8 * _HOUR, 300), (2 * _DAY, 1800), (14 * _DAY, 6 * _HOUR))
# With a history that is no longer the page begins with the last hour.
_FEW_HOURS = 3 * _HOUR
_PAGE = 25
# A dash alone says nothing to who can't see it.
_NOT_MEASURED = Markup('<span role="img" aria-label="not measured" title="not measured">–</span>')
_FIELDS = ("camera", "span", "from", "to", "min_duration_s", "max_distance_m", "together")


class HistoryQuery(CameraQuery):
    """What the form of the page sends; times are in the device's own zone."""

    span: Optional[Literal["hour", "day", "week", "month"]] = None
    start: Optional[datetime] = Field(None, alias="from")
    end: Optional[datetime] = Field(None, alias="to")
    min_duration_s: float = Field(0.0, ge=0, le=86_400)
    max_distance_m: Optional[float] = Field(None, gt=0, le=100)
    together: Optional[bool] = None
    cursor: Optional[str] = Field(None, pattern=CURSOR)

    @model_validator(mode="after")
    def _forwards(self) -> HistoryQuery:
        start_s, end_s = self.bounds_s()
        if start_s >= end_s:
            raise ValueError("the first moment must be before the last")
        return self

    def bounds_s(self) -> tuple[float, float]:
        """Return first and last moment, seconds since 1970."""
        end_s = time.time() if self.end is None else _utc_s(self.end)
        return (end_s - _SPANS[self.span or "day"] if self.start is None else _utc_s(self.start)), end_s


def add_history(pages: Blueprint, site: Site) -> None:
    """Add the pages."""

    @pages.get("/history")
    def history() -> Any:
        if site.store is None:
            abort(404, "no history is kept; set storage.enabled in the configuration")
        try:
            query, mistake = read_query(_filled(request.args), HistoryQuery), None
        except UserError as error:
            query, mistake = HistoryQuery(), str(error).removeprefix("query: ")
        if query.camera is not None:
            site.camera(query.camera)
        if query.span is None:
            query = query.model_copy(update={"span": _fitting_span(site, query)})
        shown = _shown(site, query)
        views = [site.camera(query.camera)] if query.camera is not None else list(site.cameras.values())
        shown["has_region"] = any(site.config_of(view).metrics.region_m is not None for view in views)
        return render_template("history.html", query=query, mistake=mistake, **shown), 200 if mistake is None else 400

    @pages.get("/events/<uid>")
    def event(uid: str) -> Any:
        found = None if site.store is None else site.store.event(uid)
        if site.store is None or found is None:
            abort(404, "there is no such event; it may be older than history is kept")
        around = TimeRange(found.start_utc_s - 300, found.end_utc_s + 300, found.camera)
        buckets = site.store.series(around, 60)
        stretch = Stretch.around(found.start_utc_s - 300, found.end_utc_s + 300, 60, buckets)
        return render_template("event.html", event=found, chart=Markup(people_chart(buckets, stretch, style_nonce())))

    pages.add_app_template_filter(local_time, "local_time")
    pages.add_app_template_filter(local_minute, "local_minute")
    pages.add_app_template_filter(duration, "duration")
    pages.add_app_template_filter(figure, "figure")


def local_time(utc_s: float) -> str:
    """Write a moment in the device's own zone."""
    return datetime.fromtimestamp(utc_s).strftime("%Y-%m-%d %H:%M:%S")


def local_minute(utc_s: float) -> str:
    """Write a minute in the device's own zone."""
    return datetime.fromtimestamp(utc_s).strftime("%Y-%m-%d %H:%M")


def figure(value: Optional[float], form: str = "%d") -> str:
    """Write a figure in a printf form; a dash where it was not measured."""
    return _NOT_MEASURED if value is None else form % value


def duration(seconds: Optional[float]) -> str:
    """Write a duration for people; a dash where it was not measured."""
    if seconds is None:
        return _NOT_MEASURED
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _fitting_span(site: Site, query: HistoryQuery) -> str:
    """Return an hour while what was watched on this day is the last hours alone: a day would be one dot."""
    assert site.store is not None
    if query.start is not None or query.end is not None:
        return "day"
    now_s = time.time()
    last_hour = TimeRange(now_s - _HOUR, now_s, query.camera)
    before = TimeRange(now_s - _DAY, now_s - _FEW_HOURS, query.camera)
    return "hour" if site.store.series(last_hour, _DAY) and not site.store.series(before, _DAY) else "day"


def _shown(site: Site, query: HistoryQuery) -> dict[str, Any]:
    assert site.store is not None
    start_s, end_s = query.bounds_s()
    within = TimeRange(start_s, end_s, query.camera)
    bucket_s = next((length for span, length in _BUCKETS if end_s - start_s <= span), _DAY)
    buckets = site.store.series(within, bucket_s)
    stretch = Stretch.around(start_s, end_s, bucket_s, buckets)
    page = site.store.events(within, _PAGE, query.cursor, query.min_duration_s, query.together, query.max_distance_m)
    watched_s = sum(bucket.watched_s for bucket in buckets)
    sent: dict[str, Any] = {key: value for key, value in _filled(request.args).items() if key in _FIELDS}
    sent |= {"span": query.span}
    return {
        "camera": query.camera or "",
        "spans": tuple(_SPANS),
        "start_s": start_s,
        "end_s": end_s,
        "zone": datetime.now().astimezone().tzname(),
        "buckets": buckets,
        "bucket_s": bucket_s,
        "people_chart": Markup(people_chart(buckets, stretch, style_nonce())) if buckets else None,
        "events_chart": Markup(events_chart(buckets, stretch, style_nonce())) if buckets else None,
        "watched_s": watched_s,
        "unmeasured_s": watched_s - sum(bucket.measured_s for bucket in buckets),
        "mean": mean_over(_sum(bucket.person_s for bucket in buckets), sum(bucket.counted_s for bucket in buckets)),
        "most": max((bucket.occupancy_max for bucket in buckets if bucket.occupancy_max is not None), default=None),
        "exposed_s": _sum(bucket.exposed_person_s for bucket in buckets),
        "has_line": any(bucket.passed_in is not None for bucket in buckets),
        "heat": heat_plan(site.heat(within)),
        "page": page,
        "next_page": url_for("pages.history", **{**sent, "cursor": page.next_cursor}) if page.next_cursor else None,
        "iso": {"from": _iso(start_s), "to": _iso(end_s), **({"camera": query.camera} if query.camera else {})},
    }


def _sum(values: Iterable[Optional[float]]) -> Optional[float]:
    """Add up what was measured; None where nothing was."""
    measured = [value for value in values if value is not None]
    return sum(measured) if measured else None


def _filled(sent: MultiDict[str, str]) -> MultiDict[str, str]:
    """Return the fields of a form that were filled in."""
    return MultiDict([(key, value) for key, value in sent.items(multi=True) if value != ""])


def _utc_s(moment: datetime) -> float:
    # A moment without a zone is one of this device's clock.
    return moment.timestamp()


def _iso(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")

"""The charts of the history page: SVG by pygal, which a strict content security policy lets through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Optional

import pygal

from edge_app.report.charts import STYLE, still
from edge_app.storage.rows import Bucket

_PEOPLE = copy(STYLE)
_PEOPLE.colors = (*STYLE.colors, "#8474c4")
_ALARMING = copy(STYLE)
_ALARMING.colors = STYLE.colors[1:]
_MOST_MARKS = 6
_Point = tuple[float, Optional[float]]


def people_chart(buckets: Sequence[Bucket], bucket_s: int, nonce: str) -> str:
    """Draw people over time: on average, at most, and too close on average.

    Args:
        buckets: oldest first; where one is missing the lines are interrupted.
        bucket_s: length of a bucket.
        nonce: what allows the chart's styles in this answer.
    """
    most = max((bucket.occupancy_max for bucket in buckets), default=0)
    chart = pygal.XY(
        style=_PEOPLE, width=900, height=280, show_dots=len(buckets) < 40, dots_size=2.5, js=[],
        legend_at_bottom=True, show_x_guides=False, x_value_formatter=_clock_of(buckets), disable_xml_declaration=True,
        margin=8, truncate_legend=-1, allow_interruptions=True, legend_at_bottom_columns=3,
        range=(0, axis_marks(most)[-1]), value_formatter=_plain,
    )  # fmt: skip
    # One label for each of some seven buckets, in their middles: made by itself it writes a minute several times.
    chart.x_labels = [bucket.start_utc_s + bucket_s / 2 for bucket in buckets[:: max(1, len(buckets) // 7)]]
    chart.y_labels = axis_marks(most)
    exposed = [bucket.exposed_person_s / bucket.watched_s if bucket.watched_s else 0.0 for bucket in buckets]
    chart.add("on average", _points(buckets, [bucket.occupancy_mean for bucket in buckets], bucket_s))
    chart.add("too close, on average", _points(buckets, exposed, bucket_s))
    chart.add("at most", _points(buckets, [float(bucket.occupancy_max) for bucket in buckets], bucket_s))
    return _allowed(chart.render(is_unicode=True), nonce)


def events_chart(buckets: Sequence[Bucket], nonce: str) -> str:
    """Draw how many violation events began in each stretch of time."""
    clock = _clock_of(buckets)
    marks = axis_marks(max((bucket.events for bucket in buckets), default=0))
    chart = pygal.Bar(
        style=_ALARMING, width=900, height=240, js=[], show_legend=False, margin=8, disable_xml_declaration=True,
        x_labels_major_count=6, show_minor_x_labels=False, truncate_label=-1,
        range=(0, marks[-1]), value_formatter=_plain,
    )  # fmt: skip
    chart.y_labels = marks
    chart.x_labels = [clock(bucket.start_utc_s) for bucket in buckets]
    chart.add("events", [bucket.events for bucket in buckets])
    return _allowed(chart.render(is_unicode=True), nonce)


def _points(buckets: Sequence[Bucket], values: Sequence[float], bucket_s: int) -> list[_Point]:
    points: list[_Point] = []
    for bucket, value in zip(buckets, values):
        middle = bucket.start_utc_s + bucket_s / 2
        if points and middle - points[-1][0] > 1.5 * bucket_s:
            points.append((points[-1][0] + 1, None))
        points.append((middle, round(value, 2)))
    return points


def axis_marks(most: int) -> list[int]:
    """Return where an axis of counts is marked: whole, evenly, from 0 to at least ``most`` and 1."""
    step = next(step * 10**power for power in range(12) for step in (1, 2, 5) if most <= step * 10**power * _MOST_MARKS)
    return list(range(0, max(1, -(-most // step)) * step + 1, step))


def _plain(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _clock_of(buckets: Sequence[Bucket]) -> Clock:
    spans_days = bool(buckets) and buckets[-1].start_utc_s - buckets[0].start_utc_s > 36 * 3600
    return Clock("%d %b" if spans_days else "%H:%M")


class Clock:
    """Writes seconds since 1970 in the device's own time zone."""

    def __init__(self, form: str) -> None:
        self._form = form

    def __call__(self, utc_s: float) -> str:
        return datetime.fromtimestamp(float(utc_s)).strftime(self._form)


def _allowed(svg: str, nonce: str) -> str:
    """Make a chart pass the policy: no scripts, no style attributes, its style sheet with the nonce."""
    quiet = re.sub(' style="[^"]*"', "", still(svg).replace(' style="opacity: 0"', ' opacity="0"'))
    return quiet.replace("<style", f'<style nonce="{nonce}"').replace("<svg ", '<svg aria-hidden="true" ', 1)

"""The charts of the history page: SVG by pygal, which a strict content security policy lets through."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Optional

import pygal

from edge_app.report.charts import STYLE, axis_marks, still
from edge_app.storage.rows import Bucket

_PEOPLE = copy(STYLE)
_PEOPLE.colors = (*STYLE.colors, "#8474c4")
_ALARMING = copy(STYLE)
_ALARMING.colors = STYLE.colors[1:]
_Point = tuple[float, Optional[float]]
_DAY_S = 86_400
# Between labels of an axis of time.
_STEPS_S = tuple(
    [60, 120, 300, 600, 900, 1800]
    + [hours * 3600 for hours in (1, 2, 3, 4, 6, 12)]
    + [days * _DAY_S for days in (1, 2, 5, 10, 20, 50, 100, 200)]
)
# What is longer is drawn only where there are figures.
_MOST_BUCKETS = 100


class Size(NamedTuple):
    """Of a chart: pixels, which are those of the screen on a phone, and how much is written on it."""

    width: int
    height: int
    most_labels: int
    legend_columns: int
    legend_margin: int


_SIZES = {"on-wide": Size(900, 280, 9, 3, 8), "on-narrow": Size(340, 280, 5, 2, 28)}


@dataclass(frozen=True)
class Stretch:
    """A stretch of time, cut into buckets of one length: both charts have the same axis and write the same times.

    Attributes:
        start_s: of the first bucket, a multiple of the length since 1970.
        count: of buckets.
        bucket_s: length of a bucket.
    """

    start_s: int
    count: int
    bucket_s: int

    @staticmethod
    def around(start_s: float, end_s: float, bucket_s: int, buckets: Sequence[Bucket]) -> Stretch:
        """Cover what was asked for, or, where that is very long, what there is."""
        if end_s - start_s > _MOST_BUCKETS * bucket_s and buckets:
            start_s, end_s = buckets[0].start_utc_s, buckets[-1].start_utc_s + bucket_s
        first = int(start_s) // bucket_s * bucket_s
        return Stretch(first, max(1, -(-int(end_s - first) // bucket_s)), bucket_s)

    @property
    def end_s(self) -> int:
        """End of the last bucket."""
        return self.start_s + self.count * self.bucket_s

    def starts(self) -> range:
        """Return the start of each bucket."""
        return range(self.start_s, self.end_s, self.bucket_s)

    def labels(self, most: int) -> dict[int, str]:
        """Return up to ``most`` starts of buckets with their times in the device's own zone, at round times."""
        whole_s = self.count * self.bucket_s
        are_days = whole_s > 36 * 3600
        steps = [step for step in _STEPS_S if step >= (_DAY_S if are_days else self.bucket_s)]
        step_s = next((step for step in steps if whole_s <= most * step), -(-whole_s // most))
        zone_s = datetime.fromtimestamp(self.start_s).astimezone().utcoffset() or timedelta()
        local_s = [start_s + int(zone_s.total_seconds()) for start_s in self.starts()]
        marked = [at for at, here in zip(self.starts(), local_s) if here // step_s != (here - self.bucket_s) // step_s]
        form = "%d %b" if are_days else "%H:%M"
        return {at: datetime.fromtimestamp(at).strftime(form) for at in marked[:most] or [self.start_s]}


def people_chart(buckets: Sequence[Bucket], stretch: Stretch, nonce: str) -> str:
    """Draw people over time: on average, at most, and too close on average; for wide and for narrow screens.

    Args:
        buckets: oldest first; where one is missing, or a figure was not measured, the lines are interrupted.
        stretch: of time that is drawn.
        nonce: what allows the chart's styles in this answer.
    """
    most = max((bucket.occupancy_max for bucket in buckets if bucket.occupancy_max is not None), default=0)
    bucket_s = stretch.bucket_s

    def draw(size: Size) -> str:
        labels = stretch.labels(size.most_labels)
        chart = pygal.XY(
            style=_PEOPLE, width=size.width, height=size.height, show_dots=len(buckets) < 40, dots_size=2.5, js=[],
            legend_at_bottom=True, show_x_guides=False, disable_xml_declaration=True,
            # A point is in the middle of its bucket and is called by its start, as in the chart of events.
            x_value_formatter=lambda middle_s: labels.get(round(middle_s - bucket_s / 2), ""),
            margin=8, margin_bottom=size.legend_margin, truncate_legend=-1, allow_interruptions=True,
            legend_at_bottom_columns=size.legend_columns,
            range=(0, axis_marks(most)[-1]), xrange=(stretch.start_s, stretch.end_s), value_formatter=_plain,
        )  # fmt: skip
        chart.x_labels = [start_s + bucket_s / 2 for start_s in labels]
        chart.y_labels = axis_marks(most)
        chart.add("on average", _points(buckets, [bucket.occupancy_mean for bucket in buckets], bucket_s))
        chart.add("too close, on average", _points(buckets, [bucket.exposed_mean for bucket in buckets], bucket_s))
        chart.add("at most", _points(buckets, [bucket.occupancy_max for bucket in buckets], bucket_s))
        return str(chart.render(is_unicode=True))

    return _for_both(draw, nonce)


def events_chart(buckets: Sequence[Bucket], stretch: Stretch, nonce: str) -> str:
    """Draw how many violation events began in each stretch of time; for wide and for narrow screens."""
    marks = axis_marks(max((bucket.events for bucket in buckets), default=0))
    events = {bucket.start_utc_s: bucket.events for bucket in buckets}

    def draw(size: Size) -> str:
        labels = stretch.labels(size.most_labels)
        chart = pygal.Bar(
            style=_ALARMING, width=size.width, height=size.height - 40, js=[], show_legend=False, margin=8,
            disable_xml_declaration=True, truncate_label=-1, range=(0, marks[-1]), value_formatter=_plain,
        )  # fmt: skip
        chart.y_labels = marks
        chart.x_labels = [labels.get(start_s, "") for start_s in stretch.starts()]
        chart.add("events", [events.get(start_s) for start_s in stretch.starts()])
        return str(chart.render(is_unicode=True))

    return _for_both(draw, nonce)


def _points(buckets: Sequence[Bucket], values: Sequence[Optional[float]], bucket_s: int) -> list[_Point]:
    points: list[_Point] = []
    for bucket, value in zip(buckets, values):
        middle = bucket.start_utc_s + bucket_s / 2
        if points and middle - points[-1][0] > 1.5 * bucket_s:
            points.append((points[-1][0] + 1, None))
        points.append((middle, None if value is None else round(value, 2)))
    return points


def _plain(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _for_both(draw: Callable[[Size], str], nonce: str) -> str:
    # Scaled down to a phone the wide one could not be read; the style sheet shows one of them.
    return "".join(f'<div class="{name}">{_allowed(draw(size), nonce)}</div>' for name, size in _SIZES.items())


def _allowed(svg: str, nonce: str) -> str:
    """Make a chart pass the policy: no scripts, no style attributes, its style sheet with the nonce."""
    quiet = re.sub(' style="[^"]*"', "", still(svg).replace(' style="opacity: 0"', ' opacity="0"'))
    return quiet.replace("<style", f'<style nonce="{nonce}"').replace("<svg ", '<svg aria-hidden="true" ', 1)

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from edge_app.config import Config
from edge_app.report.charts import axis_marks
from edge_app.storage import Bucket
from edge_app.web.charts import Stretch, events_chart, people_chart
from edge_app.web.settings_form import sections
from tests.edge_app.storage.made import minute
from tests.edge_app.web.history import put


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (2.75, [0, 1, 2, 3]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (17, [0, 5, 10, 15, 20]),
        (61, [0, 20, 40, 60, 80]),
        (1000, [0, 200, 400, 600, 800, 1000]),
    ],
)
def test_an_axis_of_counts_has_few_whole_and_even_marks(most, marks):
    assert axis_marks(most) == marks


def test_charts_of_nothing_and_of_one_stretch_are_drawn():
    bucket = Bucket(1_767_268_800, 60.0, 2, 1.5, 3, None, 90.0, 20.0, 10.0, None, None, 60.0, 60.0)
    for buckets in ([], [bucket]):
        stretch = Stretch(1_767_268_800, 60, 60)
        for chart in (people_chart(buckets, stretch, "nonce"), events_chart(buckets, stretch, "nonce")):
            assert chart.count("<svg") == 2
            assert "<script" not in chart


def test_a_chart_has_a_gap_where_nothing_was_measured():
    start = 1_767_268_800
    measured = Bucket(start, 60.0, 2, 1.5, 3, None, 90.0, 30.0, 10.0, None, None, 60.0, 60.0)
    nothing = Bucket(start, 60.0, 0, 1.5, 3, None, 90.0, None, None, None, None, 60.0, 0.0)
    kinds = [measured, measured, nothing, measured, measured]
    buckets = [replace(kind, start_utc_s=start + 60 * number) for number, kind in enumerate(kinds)]

    def lines(buckets):
        """The parts of the lines on average and too close, of the wide chart."""
        wide = people_chart(buckets, Stretch(start, 5, 60), "nonce").split("on-narrow")[0]
        paths = [re.findall(r'<path d="([^"]*)" class="line', part) for part in wide.split('class="series ')[1:]]
        return [len(path) for path in paths[:2]]

    assert lines([measured, replace(measured, start_utc_s=start + 60)]) == [1, 1]
    assert lines(buckets) == [1, 2]
    assert lines([replace(nothing, start_utc_s=start + 60 * number) for number in range(3)]) == [1, 0]


def test_an_axis_of_time_is_labelled_at_round_times_of_the_device_s_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")  # 5:30 h ahead
    time.tzset()
    try:
        noon = 1_767_268_800  # 2026-01-01 12:00 UTC
        day = Stretch.around(noon + 100, noon + 86_400 + 100, 1800, [])
        assert (day.start_s, day.count) == (noon, 49)
        assert list(day.labels(5).values()) == ["18:00", "00:00", "06:00", "12:00"]
        month = Stretch.around(noon - 28 * 86_400, noon, 86_400, [])
        # 8 December 2025 is day 20430 since 1970.
        assert list(month.labels(3).values()) == ["08 Dec", "18 Dec", "28 Dec"]
        assert list(Stretch(noon, 1, 1800).labels(5).values()) == ["17:30"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_stretch_of_years_is_drawn_where_there_are_figures():
    bucket = Bucket(1_767_225_600, 60.0, 2, 1.5, 3, None, 90.0, 20.0, 10.0, None, None, 60.0, 60.0)
    assert Stretch.around(0.0, 1_800_000_000.0, 86_400, [bucket]) == Stretch(1_767_225_600, 1, 86_400)


def test_a_bucket_has_the_same_time_in_both_charts():
    start = 1_767_268_800
    buckets = [
        Bucket(at, 1800.0, 2, 1.5, 3, None, 90.0, 20.0, 10.0, None, None, 60.0, 60.0)
        for at in (start + 7200, start + 9000)
    ]
    stretch = Stretch.around(start, start + 86_400, 1800, buckets)
    written = [
        re.findall(r"<text[^>]*>(\d\d:\d\d)</text>", chart(buckets, stretch, "nonce"))
        for chart in (people_chart, events_chart)
    ]
    assert written[0] == written[1] == [*stretch.labels(9).values(), *stretch.labels(5).values()]


def test_settings_are_labelled_in_words_with_their_units():
    labels = {field.name: (field.label, field.help) for _, fields in sections(Config()) for field in fields}
    assert labels["events.min_duration_s"][0] == "Minimum duration, seconds"
    assert labels["groups.max_distance_m"][0] == "Maximum distance, metres"
    assert all("threshold_m" not in said for _, said in labels.values())


@pytest.mark.parametrize(("yaml", "told"), [("metrics: {region_m: [[0, 4], [3, 4], [3, 8]]}\n", True), ("", False)])
def test_history_says_which_figures_are_of_the_region(dashboard, yaml, told):
    page = dashboard(yaml=yaml)
    put(page.store, [], [minute(0, camera="camera", start=int(time.time()) - 90)])
    shown = page.browser().get("/history?span=hour").text
    assert "People over time" in shown
    assert ("those in the region" in shown) is told

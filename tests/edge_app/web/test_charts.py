from __future__ import annotations

import pytest

from edge_app.config import Config
from edge_app.storage import Bucket
from edge_app.web.charts import axis_marks, events_chart, people_chart
from edge_app.web.settings_form import sections


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
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
    bucket = Bucket(1_767_268_800, 60.0, 2, 1.5, 3, None, 90.0, 20.0, 10.0, None, None)
    for buckets in ([], [bucket]):
        for chart in (people_chart(buckets, 60, "nonce"), events_chart(buckets, "nonce")):
            assert chart.startswith("<svg")
            assert "<script" not in chart


def test_settings_are_labelled_in_words_with_their_units():
    labels = {field.name: (field.label, field.help) for _, fields in sections(Config()) for field in fields}
    assert labels["events.min_duration_s"][0] == "Minimum duration, seconds"
    assert labels["groups.max_distance_m"][0] == "Maximum distance, metres"
    assert all("threshold_m" not in said for _, said in labels.values())

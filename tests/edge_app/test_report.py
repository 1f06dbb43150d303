from __future__ import annotations

import re

import numpy as np
import pytest

from edge_app.records import ViolationEvent
from edge_app.report import ReportCollector
from edge_app.report.charts import minutes, time_chart
from tests.edge_app.scenes import CAMERA, results_of
from tests.edge_app.web.chromium import open_chromium

SUMMARY = {
    "video": "<b>lobby</b>.mp4", "frames": 15, "frames_analysed": 15, "truncated": False, "fps": 10.0,
    "duration_s": 1.5, "width": 320, "height": 240, "camera_moved_s": 0.0, "model": "m", "runtime": "r",
    "people": {"seen": 2, "at_most_at_once": 2, "mean_at_once": 1.5},
    "violations": {"threshold_m": 2.0, "events": 1, "people_involved": 2, "pairs_at_most_at_once": 1,
                   "exposure_s": 1.2, "closest_m": 1.0, "events_dropped_too_short": 0},
    "boxes_dropped_impossible_height": 0,
    "still_things": 0,
    "fingerprints": {"video": "a" * 64, "model": "b" * 64, "calibration": "c" * 64},
    "versions": {"edge_app": "0"}, "people_in_pictures": "pixelate",
}  # fmt: skip


def collector(camera=CAMERA):
    return ReportCollector(threshold_m=2.0, camera=camera, image_size=(320, 240))


def written(tmp_path, report, summary=SUMMARY, still=None):
    report.write(tmp_path / "report.html", summary, still)
    return (tmp_path / "report.html").read_text()


def event(number, duration_s):
    return ViolationEvent(number, 1, 2, 10.0, 10.0 + duration_s, 1.0, 1.5)


def test_the_page_stands_alone_and_escapes_names(tmp_path):
    report = collector()
    for result in results_of([[0.0, 6.0], [1.0, 6.0]]):
        report.add(result)
    page = written(tmp_path, report, still=b"\xff\xd8still")
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "&lt;b&gt;lobby&lt;/b&gt;.mp4" in page
    assert "data:image/jpeg;base64" in page


def test_charts_of_the_report_can_be_read_on_a_phone(tmp_path):
    report = collector()
    for result in results_of([[0.0, 6.0], [1.0, 6.0]]):
        report.add(result)
    written(tmp_path, report)
    driver = open_chromium(tmp_path / "profile", width=500)
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True})  # fmt: skip
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        heights = driver.execute_script("""
            return [...document.querySelectorAll(".chart svg text")].map((text) => text.getBoundingClientRect().height)
              .filter((height) => height > 0);""")
        assert len(heights) > 10
        assert min(heights) >= 9
    finally:
        driver.quit()


def test_an_uncalibrated_report_claims_no_distance(tmp_path):
    report = collector(camera=None)
    for result in results_of([[0.0, 6.0], [1.0, 6.0]], camera=None):
        report.add(result)
    page = written(tmp_path, report, {**SUMMARY, "violations": None})
    assert "No distances are claimed" in page
    assert "too close" not in page


def test_who_is_too_close_has_a_gap_while_no_metres_are_known(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("edge_app.report.page.time_chart", lambda time_s, series: drawn.append(series) or "")
    report = collector()
    people = [[0.0, 6.0], [1.0, 6.0]]
    here, moved = results_of(people, frames=30), results_of(people, frames=30, camera=None)
    # The time bins are of half a second; the camera is moved for the second and the half of the third.
    for result in here:
        report.add(moved[result.index] if 5 <= result.index < 12 else result)
    written(tmp_path, report)
    in_view, too_close, pairs = (*drawn[0].values(), *drawn[1].values())
    np.testing.assert_allclose(in_view, [0.0 + 2 * 3 / 5, 2, 2, 2, 2, 2])
    # The third is about its measured part.
    np.testing.assert_allclose(too_close, [2 * 3 / 5, np.nan, 2, 2, 2, 2])
    np.testing.assert_allclose(pairs, [3 / 5, np.nan, 1, 1, 1, 1])


def test_a_line_of_the_report_is_interrupted_where_nothing_was_measured():
    time_s, nan = np.arange(6.0), np.nan

    def lines(*values):
        return len(re.findall('<path d="[^"]*" class="line reactive', time_chart(time_s, {"pairs": np.array(values)})))

    assert lines(1.0, 2.0, 1.0, 1.0, 2.0, 1.0) == 1
    assert lines(1.0, 2.0, nan, nan, 2.0, 1.0) == 2
    assert lines(*[nan] * 6) == 0


def words_of(chart):
    return re.findall(r"<text[^>]*>([^<]+)</text>", chart)


def test_the_axis_of_time_goes_to_the_end_though_nothing_is_measured_there():
    time_s, nan = np.arange(10.0), np.nan
    drawn, whole = (time_chart(time_s, {"pairs": np.array(values)}) for values in ([1.0] * 4 + [nan] * 6, [1.0] * 10))
    assert words_of(drawn) == words_of(whole)
    assert "0:08" in words_of(drawn)


def test_counts_have_an_axis_in_whole_steps():
    words = words_of(time_chart(np.arange(4.0), {"pairs": np.array([0.0, 2.75, 1.5, 1.0])}))
    assert words[:4] == ["0", "1", "2", "3"]
    assert not any("." in word for word in words)


def test_the_page_says_for_how_long_the_camera_was_moved_and_what_gaps_mean(tmp_path):
    report = collector()
    for result in results_of([[0.0, 6.0], [1.0, 6.0]]):
        report.add(result)
    withheld = "For 0.9 of 1.5 s the camera looked elsewhere than when it was calibrated: no distances are claimed"
    page = written(tmp_path, report, {**SUMMARY, "camera_moved_s": 0.9})
    assert withheld in page
    assert page.count("Where a line has a gap") == 2
    page = written(tmp_path, report)
    assert "looked elsewhere" not in page
    assert "has a gap" not in page


def test_one_of_something_is_named_so_on_the_page(tmp_path):
    report = collector()
    for result in results_of([[0.0, 6.0], [1.0, 6.0]]):
        report.add(result)
    dropped_one = {**SUMMARY["violations"], "events_dropped_too_short": 1}
    one = {"seen": 1, "at_most_at_once": 1, "mean_at_once": 1.0}
    page = written(tmp_path, report, {**SUMMARY, "people": one, "violations": dropped_one, "frames_analysed": 1})
    for words in ("person seen", "person at most at once", "time two people", "pair too close at most", "1 event<",
                  "1 frame analysed"):  # fmt: skip
        assert words in page


def test_the_heat_map_counts_people_where_they_stand():
    report = collector()
    results = results_of([[0.0, 6.0], [3.0, 9.0]])
    for result in results:
        report.add(result)
    heat = report.state()["heat"]
    assert heat.sum() == sum(int(result.tracks.observed.sum()) for result in results)
    rows, columns = np.nonzero(heat)
    places = np.column_stack([columns, rows]) * report._heat_cell_m + report._heat_origin
    assert np.abs(places - [0.0, 6.0]).max(axis=1).min() < 1.0
    assert np.abs(places - [3.0, 9.0]).max(axis=1).min() < 1.0


def test_distances_fall_into_their_bins():
    report = collector()
    for result in results_of([[0.0, 6.0], [1.6, 6.0]]):
        report.add(result)
    assert np.flatnonzero(report.state()["distances"]).tolist() == [6]  # 1.50 to 1.75 m


def test_a_long_video_keeps_its_means_in_the_same_memory(tmp_path):
    report = collector()
    one = results_of([[0.0, 6.0]])[-1]
    for index in range(5000):
        report.add(type(one)(**{**vars(one), "index": index, "time_s": index * 1.0}))
    bins = report.state()["bins"]
    assert bins.shape == (240, 5)
    assert bins[:, 3].sum() == 5000
    used = bins[:, 3] > 0
    np.testing.assert_allclose(bins[used, 0] / bins[used, 3], 1.0)


def test_only_the_longest_events_are_listed_and_the_page_says_so(tmp_path):
    report = collector()
    for result in results_of([[0.0, 6.0]]):
        report.add(result)
    report.add_events(event(number, float(number)) for number in range(1, 1001))
    page = written(tmp_path, report)
    assert "The 200 longest of 1000 events" in page
    assert page.count("<tr><td>") == 200
    assert "1000.0 s" in page
    assert "<td>800.0 s" not in page


def test_it_goes_on_after_a_restart(tmp_path):
    results = results_of([[0.0, 6.0], [1.0, 6.0]], frames=20)
    whole, first, second = collector(), collector(), collector()
    for result in results:
        whole.add(result)
    for result in results[:10]:
        first.add(result)
    second.restore(first.state())
    for result in results[10:]:
        second.add(result)
    for name, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[name], value)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3605, "60:05")])
def test_times_are_minutes_and_seconds(seconds, text):
    assert minutes(seconds) == text

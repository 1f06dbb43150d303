"""The table of known answers that comparable systems get wrong, as far as distances and events go.

Boxes of people go through the whole pipeline after the detector; the answers are worked out by hand.
"""

from __future__ import annotations

import ast
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from edge_app.config import Config, MetricsConfig
from edge_app.pipeline import Pipeline
from edge_app.records import Detections
from tests.edge_app.synthetic import boxes_of_people, camera_looking_down

CAMERA = camera_looking_down(height_m=3.0, tilt_deg=20.0)
EDGE_APP = Path(__file__).resolve().parents[2] / "edge_app"
FAR_APART, TOGETHER = [[-2.0, 8.0], [2.5, 8.0]], [[-0.5, 8.0], [0.5, 8.0]]


class NoModel:
    name = "none"


def run(people_at, seconds, fps=5.0, start_s=0.0, missing=lambda index: False, config=None):
    """Feed people (function of seconds since the start) and return the results, the events and the pipeline."""
    pipeline = Pipeline(config or Config(), NoModel(), CAMERA)
    results, events = [], []
    for index in range(round(seconds * fps) + 1):
        seen = Detections.empty() if missing(index) else boxes_of_people(CAMERA, people_at(index / fps))
        results.append(pipeline.interpret(index, start_s + index / fps, seen))
        events += results[-1].closed_events
    return results, [*events, *pipeline.finish()], pipeline


def test_five_people_within_a_metre_are_five_people_and_ten_pairs():
    angle = np.arange(5) * 2 * np.pi / 5
    circle = np.column_stack([0.5 * np.cos(angle), 7.0 + 0.5 * np.sin(angle)])
    results, events, _ = run(lambda _: circle, 3.0)
    assert len(results[-1].violating_people) == 5
    assert len(results[-1].violating_pairs) == len(events) == 10


def test_close_120_s_then_alone_5_s_is_one_event_of_120_s():
    _, events, _ = run(lambda t: TOGETHER if t <= 120.0 else TOGETHER[:1], 125.0)
    assert [event.duration_s for event in events] == [pytest.approx(120.0, abs=0.6)]


def test_alone_120_s_close_5_s_alone_30_s_is_one_event_of_5_s():
    _, events, _ = run(lambda t: TOGETHER if 120.0 <= t <= 125.0 else TOGETHER[:1], 155.0)
    assert [event.duration_s for event in events] == [pytest.approx(5.0, abs=0.6)]


def test_two_metres_apart_in_depth_are_two_metres():
    """Feet at 5 and 7 m under a camera 3 m high that looks down by 20 degrees."""
    results, _, _ = run(lambda _: [[0.0, 5.0], [0.0, 7.0]], 3.0)
    assert results[-1].pairs.distance_m[0] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("fps", [5.0, 30.0])
def test_the_same_minute_has_the_same_events_at_5_and_at_30_frames_a_second(fps):
    def people(t):
        gap = 3.0 + 1.9 * np.sin(2 * np.pi * t / 20)  # under 2 m for 6.5 s of every 20
        return [[-gap / 2, 8.0], [gap / 2, 8.0]]

    _, events, _ = run(people, 40.0, fps)
    assert len(events) == 2
    for event in events:
        assert event.duration_s == pytest.approx(6.9, abs=0.8)


def test_an_empty_stretch_ends_what_was_open():
    results, events, _ = run(lambda t: TOGETHER if t <= 10.0 else np.zeros((0, 2)), 30.0)
    assert len(events) == 1
    assert events[0].end_s == pytest.approx(10.0)
    assert len(results[-1].tracks) == 0


def test_an_event_does_not_flicker_when_every_third_frame_is_missed():
    _, events, _ = run(lambda _: TOGETHER, 30.0, missing=lambda index: index > 5 and index % 3 == 0)
    assert len(events) == 1
    assert events[0].duration_s > 28.0


def test_a_ghost_beside_a_person_makes_no_violation():
    """A detector says one person three times: whole, a little beside, and the upper body."""

    def thrice(index):
        (whole,) = boxes_of_people(CAMERA, [[0.0, 8.0]]).bbox
        left, top, right, bottom = whole
        beside = whole + (right - left) * np.array([0.08, 0.0, 0.08, 0.0])
        upper = [left + 2, top + 2, right - 2, top + 0.45 * (bottom - top)]
        return Detections(np.array([whole, beside, upper], np.float32), np.array([0.9, 0.7, 0.6], np.float32))

    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    results = [pipeline.interpret(index, index / 5, thrice(index)) for index in range(30)]
    assert all(len(result.pairs) == 0 for result in results)
    assert pipeline.people_seen == 1
    assert pipeline.dropped_duplicates == 60


def utc_s(*local: int) -> float:
    return datetime(*local, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(timezone.utc).timestamp()


@pytest.mark.parametrize(
    "start_s",
    [
        0.0,
        86_400.0 - 30.0,  # a source that has run for a day
        utc_s(2026, 10, 24, 23, 59, 30),  # local midnight
        utc_s(2026, 3, 29, 1, 59, 30),  # the clock is put forward
        utc_s(2026, 10, 25, 2, 59, 30),  # the clock is put back: local time says 2 o'clock twice
    ],
)
def test_midnight_and_a_change_of_the_clock_lose_nothing(start_s):
    """Frame times may count from anything: events, exposure and dwell are the same."""
    region = ((-4.0, 5.0), (4.0, 5.0), (4.0, 12.0), (-4.0, 12.0))
    config = Config(metrics=MetricsConfig(region_m=region))

    def people(t):
        return TOGETHER if 10.0 <= t <= 50.0 else FAR_APART

    _, events, pipeline = run(people, 60.0, start_s=start_s, config=config)
    assert [event.duration_s for event in events] == [pytest.approx(40.0, abs=1.0)]
    assert events[0].start_s - start_s == pytest.approx(10.0, abs=1.0)
    summary = pipeline.metrics.summary()
    assert summary["watched_s"] == pytest.approx(60.0)
    assert summary["violating_pair_s"] == pytest.approx(40.0, abs=1.0)
    assert summary["exposed_person_s"] == pytest.approx(80.0, abs=2.0)


@pytest.mark.parametrize("module", ["events", "metrics", "groups", "distances", "ground_plane", "foot_points"])
def test_durations_never_come_from_a_clock(module):
    tree = ast.parse((EDGE_APP / f"{module}.py").read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not imported & {"time", "datetime"}

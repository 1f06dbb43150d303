from __future__ import annotations

import json

import numpy as np
import pytest

from edge_app.config import EventConfig
from edge_app.events import EventDetector
from edge_app.records import Pairs


def pair(distance_m, a=1, b=2, probability=None):
    """Return a pair whose distance is known exactly, or whose probability of a violation is given."""
    exact = float(distance_m < 2.0) if probability is None else probability
    return Pairs(np.array([a]), np.array([b]), np.array([float(distance_m)]), np.ones(1), np.array([exact]))


def run(distances, fps, config=None):
    """Feed one pair's distance per frame (None: not seen) and return the detector's events."""
    detector = EventDetector(2.0, config or EventConfig())
    events = []
    for index, distance in enumerate(distances):
        events += detector.update(index / fps, Pairs.empty() if distance is None else pair(distance))
    return [*events, *detector.finish()], detector


def spans(events):
    return [(round(event.start_s, 3), round(event.end_s, 3)) for event in events]


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_close_for_120_s_then_alone_is_one_event_of_120_s(fps):
    events, _ = run([1.0] * (120 * fps + 1) + [None] * (5 * fps), fps)
    assert spans(events) == [(0.0, 120.0)]
    assert events[0].duration_s == pytest.approx(120.0)


@pytest.mark.parametrize("fps", [5, 30])
def test_alone_120_s_close_5_s_alone_30_s_is_one_event_of_5_s(fps):
    events, _ = run([None] * (120 * fps) + [1.5] * (5 * fps + 1) + [None] * (30 * fps), fps)
    assert spans(events) == [(120.0, 125.0)]


def test_the_same_walk_gives_the_same_events_at_30_and_at_5_fps():
    def distance(time_s):
        return 2.5 + 1.0 * np.cos(2 * np.pi * time_s / 20)

    walks = {fps: run([distance(i / fps) for i in range(60 * fps)], fps)[0] for fps in (5, 30)}
    assert len(walks[5]) == len(walks[30]) == 3
    for slow, fast in zip(walks[5], walks[30]):
        assert slow.start_s == pytest.approx(fast.start_s, abs=0.2)
        assert slow.end_s == pytest.approx(fast.end_s, abs=0.2)
        assert slow.min_distance_m == pytest.approx(1.5, abs=0.01)


def test_hysteresis_keeps_an_event_open_and_does_not_open_one():
    assert spans(run([1.9, 2.1, 2.1, 2.1], 1)[0]) == [(0.0, 3.0)]
    assert run([2.1, 2.1, 2.1, 2.1], 1)[0] == []


def test_an_event_opens_and_closes_by_probability():
    """A measured 1.9 m that may as well be 2.3 m opens nothing; once open, the event goes on while it is likely."""
    detector = EventDetector(2.0, EventConfig(open_probability=0.6, close_probability=0.3, exit_margin_m=0.0))
    closed = []
    for time_s, (distance, probability) in enumerate(
        [(1.9, 0.55), (1.8, 0.65), (2.1, 0.4), (2.2, 0.35), (2.3, 0.2), (2.3, 0.2), (2.3, 0.2), (2.3, 0.2)]
    ):
        closed += detector.update(float(time_s), pair(distance, probability=probability))
    assert spans(closed) == [(1.0, 3.0)]


def test_an_event_survives_a_short_loss_and_not_a_long_one():
    config = EventConfig(max_gap_s=2.0, min_duration_s=0.5)
    close, lost = [1.0] * 11, [None] * 15
    assert len(run(close + lost + close, 10, config)[0]) == 1
    assert len(run(close + lost * 2 + close, 10, config)[0]) == 2


def test_an_event_that_is_too_short_is_dropped_and_counted():
    events, detector = run([None, 1.0, 1.0, None], 10, EventConfig(min_duration_s=1.0))
    assert events == []
    assert detector.dropped_short == 1


def test_an_event_ends_where_the_closeness_ended_not_where_it_was_noticed():
    events, _ = run([1.0] * 21 + [5.0] * 100, 10)
    assert spans(events) == [(0.0, 2.0)]


def test_min_and_mean_are_over_the_frames_in_violation():
    events, _ = run([1.5, 1.0, 2.0, None], 1)
    assert (events[0].min_distance_m, events[0].mean_distance_m) == (1.0, pytest.approx(1.5))


def test_pairs_have_events_of_their_own():
    detector = EventDetector(2.0, EventConfig())
    ids = np.array([1, 1, 2]), np.array([2, 3, 3])
    for index in range(21):
        distance = np.array([1.0, 1.0, 5.0 if index < 10 else 1.0])
        detector.update(index / 10, Pairs(*ids, distance, np.ones(3), (distance < 2.0).astype(float)))
    assert detector.violating_pairs(2.0).tolist() == [[1, 2], [1, 3], [2, 3]]
    events = detector.finish()
    assert [(event.id_a, event.id_b) for event in events] == [(1, 2), (1, 3), (2, 3)]
    assert [event.event_id for event in events] == [1, 2, 3]


def test_only_pairs_close_in_this_very_frame_are_violating_now():
    detector = EventDetector(2.0, EventConfig())
    detector.update(0.0, pair(1.0))
    assert detector.violating_pairs(0.0).tolist() == [[1, 2]]
    detector.update(0.1, Pairs.empty())
    assert detector.violating_pairs(0.1).shape == (0, 2)


def test_a_restored_detector_goes_on_as_if_nothing_had_happened():
    distances = [1.0] * 15 + [None] * 10 + [1.2] * 15
    whole, _ = run(distances, 10)
    first, second = EventDetector(2.0, EventConfig()), EventDetector(2.0, EventConfig())
    for index, distance in enumerate(distances[:20]):
        first.update(index / 10, Pairs.empty() if distance is None else pair(distance))
    second.restore(json.loads(json.dumps(first.state())))
    events = []
    for index, distance in enumerate(distances[20:], start=20):
        events += second.update(index / 10, Pairs.empty() if distance is None else pair(distance))
    assert [*events, *second.finish()] == whole

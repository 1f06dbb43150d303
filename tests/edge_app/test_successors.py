from __future__ import annotations

import json

import numpy as np

from edge_app.config import EventConfig
from edge_app.distances import measure_pairs
from edge_app.events import EventDetector
from edge_app.records import GroundPoints
from edge_app.successors import Successors


def places(xy_m):
    xy = np.asarray(xy_m, np.float64).reshape(-1, 2)
    count = len(xy)
    return GroundPoints(xy, np.zeros((count, 2, 2)), np.ones(count, np.bool_), np.zeros((count, 0, 2)))


def walk(successors, person, start, velocity, seconds, fps=5.0, from_s=0.0):
    """Let one person walk; returns all successions."""
    found = []
    for index in range(round(seconds * fps)):
        time_s = from_s + index / fps
        place = np.asarray(start) + index / fps * np.asarray(velocity)
        found += successors.update(time_s, np.array([person]), places([place]))
    return found


def test_a_track_that_starts_where_a_walker_would_be_goes_on_for_the_lost_one():
    successors = Successors(2.0)
    assert walk(successors, 1, (0.0, 5.0), (1.4, 0.0), 3.0) == []
    # A second later, 1.4 m on.
    assert successors.update(3.8, np.array([7]), places([(3.92 + 1.4, 5.2)])) == [(1, 7)]


def test_somebody_elsewhere_or_much_later_is_somebody_else():
    successors = Successors(2.0)
    walk(successors, 1, (0.0, 5.0), (1.4, 0.0), 3.0)
    assert successors.update(3.0, np.array([7]), places([(0.0, 9.0)])) == []
    later = Successors(2.0)
    walk(later, 1, (0.0, 5.0), (0.0, 0.0), 3.0)
    assert later.update(6.0, np.array([7]), places([(0.0, 5.0)])) == []


def test_nobody_goes_on_for_a_person_who_is_still_seen():
    successors = Successors(2.0)
    walk(successors, 1, (0.0, 5.0), (0.0, 0.0), 2.0)
    assert successors.update(2.0, np.array([1, 2]), places([(0.0, 5.0), (0.1, 5.0)])) == []


def test_two_lost_and_two_new_are_matched_by_the_nearest_whole():
    successors = Successors(2.0)
    both = np.array([1, 2])
    for index in range(10):
        successors.update(index / 5, both, places([(0.0, 5.0), (1.0, 5.0)]))
    found = successors.update(2.2, np.array([8, 9]), places([(0.9, 5.0), (0.1, 5.0)]))
    assert sorted(found) == [(1, 9), (2, 8)]


def test_memory_outlives_a_restart():
    first, second = Successors(2.0), Successors(2.0)
    walk(first, 1, (0.0, 5.0), (1.0, 0.0), 2.0)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.update(2.2, np.array([3]), places([(2.2, 5.0)])) == [(1, 3)]


def closeness(events, successors, time_s, ids, xy_m):
    ground = places(xy_m)
    for lost, new in successors.update(time_s, np.array(ids), ground):
        events.go_on(lost, new)
    return events.update(time_s, measure_pairs(np.array(ids), ground, 2.0))


def test_an_event_survives_new_ids_of_both_people():
    events, successors = EventDetector(2.0, EventConfig()), Successors(2.0)
    closed = []
    for index in range(40):
        ids = [1, 2] if index < 15 else [1, 6] if index < 25 else [9, 6]
        if index in (14, 24):
            ids = ids[:1] if index == 14 else ids[1:]
        xy = {1: (0.0, 5.0), 9: (0.0, 5.0), 2: (1.0, 5.0), 6: (1.0, 5.0)}
        closed += closeness(events, successors, index / 5, ids, [xy[person] for person in ids])
    closed += events.finish()
    assert [(event.id_a, event.id_b, event.start_s, event.end_s) for event in closed] == [(6, 9, 0.0, 39 / 5)]
    assert closed[0].min_distance_m == 1.0


def test_an_event_does_not_go_on_under_the_name_of_one_that_was_there_beside_it():
    # 1 is near 2 and near 3. 2 is lost long before 3, and found again, under its own id, where 3 was lost.
    events, successors = EventDetector(2.0, EventConfig()), Successors(2.0)
    xy = {1: (0.0, 5.0), 2: (1.0, 5.0), 3: (0.5, 5.0)}
    closed = []
    for index in range(60):
        ids = [1, 2, 3] if index < 10 else [1, 3] if index < 30 else [1] if index < 32 else [1, 2]
        if index == 32:
            xy[2] = xy[3]
            events, restored = EventDetector(2.0, EventConfig()), json.loads(json.dumps(events.state()))
            events.restore(restored)
        closed += closeness(events, successors, index / 5, ids, [xy[person] for person in ids])
    closed += events.finish()
    spans = sorted((event.id_a, event.id_b, event.start_s, event.end_s) for event in closed)
    assert spans == [(1, 2, 0.0, 9 / 5), (1, 2, 32 / 5, 59 / 5), (1, 3, 0.0, 29 / 5), (2, 3, 0.0, 9 / 5)]


def test_an_event_with_oneself_is_none():
    events = EventDetector(2.0, EventConfig(min_duration_s=0.0))
    events.update(0.0, measure_pairs(np.array([1, 2]), places([(0, 5), (1, 5)]), 2.0))
    events.go_on(1, 2)
    assert events.finish() == ()


def test_events_of_nobody_are_taken_back():
    events = EventDetector(2.0, EventConfig(min_duration_s=0.0))
    events.update(0.0, measure_pairs(np.array([1, 2, 3]), places([(0, 5), (1, 5), (1.5, 5)]), 2.0))
    events.forget(np.array([3]))
    assert [(event.id_a, event.id_b) for event in events.finish()] == [(1, 2)]

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_app.config import GroupConfig
from edge_app.distances import measure_pairs
from edge_app.groups import GroupDetector
from edge_app.records import GroundPoints


def judge(detector, time_s, people):
    """Give one frame of people (id → metres) and return {pair: same group}."""
    ids = np.array(list(people), np.int64)
    xy = np.array([people[person] for person in people], float)
    ground = GroundPoints(
        xy, np.tile(np.eye(2) * 0.01, (len(ids), 1, 1)), np.ones(len(ids), bool), np.zeros((len(ids), 0, 2))
    )
    pairs = measure_pairs(ids, ground, 2.0)
    together = detector.update(time_s, ids, ground, pairs)
    return {(a, b): bool(flag) for a, b, flag in zip(pairs.id_a.tolist(), pairs.id_b.tolist(), together)}


def follow(paths, seconds, fps=10, detector=None, start=0):
    detector = detector or GroupDetector(GroupConfig())
    said = {}
    for index in range(int(start * fps), int(seconds * fps)):
        time_s = index / fps
        said = judge(detector, time_s, {person: path(time_s) for person, path in paths.items()})
    return said, detector


def side_by_side(time_s):
    return (1.2 * time_s, 0.0)


def beside(time_s):
    return (1.2 * time_s, 0.8)


@pytest.mark.parametrize("fps", [5, 15])
def test_two_who_walk_side_by_side_are_a_group_after_a_while(fps):
    assert follow({1: side_by_side, 2: beside}, 3, fps)[0] == {(1, 2): False}
    assert follow({1: side_by_side, 2: beside}, 8, fps)[0] == {(1, 2): True}


def test_two_who_pass_one_another_are_not():
    said, _ = follow({1: lambda t: (1.2 * t, 0.0), 2: lambda t: (12.0 - 1.2 * t, 0.8)}, 9)
    assert said == {(1, 2): False}


def test_two_who_stand_in_a_queue_are_not():
    said, _ = follow({1: lambda t: (0.0, 0.0), 2: lambda t: (1.0, 0.0)}, 60)
    assert said == {(1, 2): False}


def test_two_who_walk_the_same_way_far_apart_are_not():
    said, _ = follow({1: side_by_side, 2: lambda t: (1.2 * t, 5.0)}, 20)
    assert said == {(1, 2): False}


def test_a_group_that_stops_to_talk_stays_a_group():
    def stop_after_8_s(y):
        return lambda t: (1.2 * min(t, 8.0), y)

    said, _ = follow({1: stop_after_8_s(0.0), 2: stop_after_8_s(0.8)}, 40)
    assert said == {(1, 2): True}


def test_only_those_who_walk_together_are_grouped_in_a_crowd():
    paths = {1: side_by_side, 2: beside, 3: lambda t: (12.0 - 1.2 * t, 0.4), 4: lambda t: (6.0, 1.5)}
    said, _ = follow(paths, 8)
    assert {pair for pair, together in said.items() if together} == {(1, 2)}


def test_it_goes_on_after_a_restart():
    paths = {1: side_by_side, 2: beside}
    _, first = follow(paths, 3)
    second = GroupDetector(GroupConfig())
    second.restore(json.loads(json.dumps(first.state())))
    for begin, end in ((3, 4), (4, 5), (5, 6), (6, 7)):
        resumed, _ = follow(paths, end, detector=second, start=begin)
        assert resumed == follow(paths, end)[0]
    assert resumed == {(1, 2): True}

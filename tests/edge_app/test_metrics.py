"""Known answers for the figures on a place."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_app.config import MetricsConfig
from edge_app.metrics import SceneMetrics, fit_critical_density
from edge_app.records import Detections, FrameResult, GroundPoints, Pairs, Tracks

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


def frame(time_s, places, violating=(), in_metres=True):
    """Return a frame with the people of ``places``, id -> (x, y), and violating id pairs."""
    ids = np.array(sorted(places), np.int64)
    xy = np.array([places[person] for person in ids.tolist()], np.float64).reshape(-1, 2)
    count = len(ids)
    tracks = Tracks(ids, np.zeros((count, 4), np.float32), np.ones(count, np.float32), xy, np.zeros((count, 2, 2)),
                    np.ones(count, np.bool_))  # fmt: skip
    ground = GroundPoints(xy, np.zeros((count, 2, 2)), np.ones(count, np.bool_), np.zeros((count, 0, 2)))
    pairs = np.array(violating, np.int64).reshape(-1, 2)
    return FrameResult(round(time_s * 10), time_s, Detections.empty(), tracks, ground, Pairs.empty(), pairs,
                       np.full(len(pairs), time_s), np.unique(pairs), in_metres=in_metres)  # fmt: skip


def run(frames, config=None):
    metrics = SceneMetrics(config or MetricsConfig(region_m=SQUARE))
    for item in frames:
        metrics.update(item)
    return metrics


@pytest.mark.parametrize("fps", [2, 5, 30])
def test_two_people_for_ten_seconds_then_nobody_is_an_occupancy_of_one_on_average(fps):
    places = {1: (2.0, 2.0), 2: (5.0, 5.0)}
    frames = [frame(i / fps, places if i < 10 * fps else {}) for i in range(20 * fps + 1)]
    summary = run(frames).summary()
    assert summary["watched_s"] == pytest.approx(20.0)
    assert summary["occupancy"] == {"now": 0, "mean": 1.0, "most": 2}
    assert summary["region_area_m2"] == pytest.approx(100.0)
    assert summary["density_per_m2"] == pytest.approx(0.01)
    assert summary["person_s"] == pytest.approx(20.0)


def test_whoever_is_outside_the_region_does_not_count():
    summary = run([frame(float(i), {1: (2.0, 2.0), 2: (12.0, 5.0)}) for i in range(5)]).summary()
    assert summary["occupancy"]["mean"] == 1.0


def test_dwell_is_the_time_from_entering_to_leaving():
    frames = [frame(i / 5, {1: (1.0 + i / 5, 5.0)}) for i in range(60)]  # 1 m/s from x = 1: inside until x = 10
    summary = run(frames).summary()
    assert summary["dwell_s"] == {"stays": 1, "median": 9.0, "p90": 9.0, "longest": 9.0}


def test_a_short_loss_does_not_end_a_stay_and_a_long_one_does():
    short = [frame(float(i), {} if 4 <= i < 7 else {1: (5.0, 5.0)}) for i in range(12)]
    assert run(short).summary()["dwell_s"]["stays"] == 1
    long = [frame(float(i), {} if 4 <= i < 14 else {1: (5.0, 5.0)}) for i in range(20)]
    assert run(long).summary()["dwell_s"]["stays"] == 2


def test_exposure_is_person_seconds_and_pair_seconds():
    # Three people, all pairs too close, for 4 s: 12 person-seconds and 12 pair-seconds; two of them for 2 s more.
    everyone = {1: (1.0, 1.0), 2: (2.0, 1.0), 3: (1.5, 1.5)}
    frames = [frame(i / 10, everyone, [(1, 2), (1, 3), (2, 3)] if i < 40 else [(1, 2)]) for i in range(61)]
    summary = run(frames).summary()
    assert summary["exposed_person_s"] == pytest.approx(3 * 4 + 2 * 2)
    assert summary["violating_pair_s"] == pytest.approx(3 * 4 + 2)


def test_passages_of_a_line_are_counted_once_in_each_direction_and_not_around_its_ends():
    config = MetricsConfig(line_m=((0.0, 0.0), (10.0, 0.0)))
    steps = np.linspace(-3, 3, 31)
    there = [frame(i / 5, {1: (5.0, y)}) for i, y in enumerate(steps)]
    back = [frame(10 + i / 5, {1: (5.0, -y)}) for i, y in enumerate(steps)]
    beside = [frame(20 + i / 5, {2: (12.0, y)}) for i, y in enumerate(steps)]
    assert run(there + back + beside, config).summary()["line"] == {"in": 1, "out": 1}


def test_who_stands_on_the_line_does_not_pass_it_again_and_again():
    config = MetricsConfig(line_m=((0.0, 0.0), (10.0, 0.0)))
    rng = np.random.default_rng(0)
    frames = [frame(i / 5, {1: (5.0, float(y))}) for i, y in enumerate(rng.uniform(-0.15, 0.15, 100))]
    assert run(frames, config).summary()["line"] == {"in": 0, "out": 0}


def test_whoever_waits_on_the_line_passes_it_in_the_end():
    config = MetricsConfig(line_m=((0.0, 0.0), (10.0, 0.0)))
    waits = [frame(1 + i / 5, {1: (5.0, 0.05)}) for i in range(100)]
    frames = [frame(0.0, {1: (5.0, -1.0)}), *waits, frame(21.0, {1: (5.0, 1.0)})]
    assert run(frames, config).summary()["line"] == {"in": 1, "out": 0}


def test_while_the_camera_is_moved_nothing_is_watched():
    places = {1: (2.0, 2.0), 2: (5.0, 5.0)}
    frames = [frame(i / 5, places if i < 50 else {}, in_metres=i < 50) for i in range(101)]
    frames += [frame(20.2 + i / 5, places) for i in range(51)]
    summary = run(frames).summary()
    assert summary["watched_s"] == pytest.approx(20.0)
    assert summary["occupancy"]["mean"] == 2.0


def test_a_gap_between_frames_is_not_watched_time():
    frames = [frame(0.0, {1: (1.0, 1.0)}), frame(1.0, {1: (1.0, 1.0)}), frame(61.0, {1: (1.0, 1.0)})]
    assert run(frames).summary()["watched_s"] == pytest.approx(1.0)


def test_the_critical_density_is_where_violations_begin():
    density = np.linspace(0.02, 0.2, 60)
    found = fit_critical_density(density, 100 * (density - 0.05))
    assert found is not None
    assert (found.slope, found.intercept) == (pytest.approx(100.0), pytest.approx(-5.0))
    assert found.density_per_m2 == pytest.approx(0.05)
    # Without noise the upper bound is the line itself: one pair at 0.06.
    assert found.cautious_per_m2 == pytest.approx(0.06, abs=3e-4)


def test_noise_makes_the_cautious_density_smaller_and_a_falling_line_has_none():
    density = np.tile(np.linspace(0.02, 0.2, 30), 2)
    noise = np.repeat([1.0, -1.0], 30)
    found = fit_critical_density(density, 100 * (density - 0.05) + noise)
    assert found is not None and found.cautious_per_m2 < 0.05
    assert fit_critical_density(density, 10 - 10 * density) is None
    assert fit_critical_density(np.full(20, 0.1), np.arange(20.0)) is None


def test_ten_second_samples_lead_to_a_critical_density():
    # In minute k there are k people, and k - 2 pairs too close from two people on.
    frames = []
    for second in range(15 * 10):
        crowd = second // 15 + 1
        places = {person: (1.0 + person * 0.5, 5.0) for person in range(1, crowd + 1)}
        pairs = [(person, person + 1) for person in range(1, max(1, crowd - 1))][: max(0, crowd - 2)]
        frames.append(frame(float(second), places, pairs))
    critical = run(frames).summary()["critical_density"]
    assert critical["samples"] == 14
    assert critical["density_per_m2"] == pytest.approx(0.02, abs=0.006)


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    config = MetricsConfig(region_m=SQUARE, line_m=((0.0, 5.0), (10.0, 5.0)))
    frames = [frame(i / 5, {1: (5.0, i / 20), 2: (4.0, 9 - i / 20)}, [(1, 2)]) for i in range(150)]
    whole = run(frames, config).summary()
    first = run(frames[:73], config)
    second = SceneMetrics(config)
    second.restore(json.loads(json.dumps(first.state())))
    for item in frames[73:]:
        second.update(item)
    assert second.summary() == whole
    assert whole["line"] == {"in": 1, "out": 1}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"region_m": [[0, 0], [4, 0], [1, 6], [5.5, 6]]}, "sides that cross"),
        ({"region_m": [[0, 0], [1, 1], [2, 2]]}, "no area"),
        ({"line_m": [[1, 1], [1, 1]]}, "two different ends"),
    ],
)
def test_regions_without_area_and_lines_without_length_are_refused(section, message):
    with pytest.raises(ValueError, match=message):
        MetricsConfig(**section)

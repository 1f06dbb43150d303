from __future__ import annotations

import numpy as np
import pytest

from edge_app.distances import measure_pairs
from edge_app.records import GroundPoints


def points(xy, sigma_m=0.1, valid=None):
    xy = np.asarray(xy, float)
    valid = np.ones(len(xy), bool) if valid is None else np.asarray(valid)
    return GroundPoints(xy, np.tile(np.eye(2) * sigma_m**2, (len(xy), 1, 1)), valid, np.zeros((len(xy), 0, 2)))


def test_distances_are_euclidean_and_each_pair_comes_once_in_order_of_ids():
    pairs = measure_pairs(np.array([7, 3, 5]), points([[0, 0], [3, 4], [0, 1]]), 2.0)
    found = {(a, b): d for a, b, d in zip(pairs.id_a.tolist(), pairs.id_b.tolist(), pairs.distance_m.tolist())}
    assert found == pytest.approx({(3, 5): np.sqrt(18), (3, 7): 5.0, (5, 7): 1.0})


def test_five_people_within_a_metre_are_ten_pairs():
    pairs = measure_pairs(np.arange(1, 6), points([[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5], [0.2, 0.2]]), 2.0)
    assert len(pairs) == 10
    assert len(set(pairs.id_a.tolist()) | set(pairs.id_b.tolist())) == 5


def test_independent_errors_add_up_along_the_line_between_the_two():
    ground = GroundPoints(
        np.array([[0.0, 0.0], [0.0, 3.0]]),
        np.array([np.diag([1.0, 0.09]), np.diag([4.0, 0.16])]),
        np.ones(2, bool),
        np.zeros((2, 0, 2)),
    )
    assert measure_pairs(np.array([1, 2]), ground, 2.0).sigma_m == pytest.approx([0.5])


def test_the_probability_is_one_half_at_the_threshold_and_a_normal_tail_elsewhere():
    # 2.00 m and 2.02 m, each with a standard deviation of 0.02 m
    pairs = measure_pairs(np.array([1, 2, 3]), points([[0, 0], [2, 0], [0, 2.02]], sigma_m=np.sqrt(0.0002)), 2.0)
    assert pairs.p_violation[:2] == pytest.approx([0.5, 0.158655], abs=0.003)


def test_an_exact_distance_has_a_certain_answer():
    pairs = measure_pairs(np.array([1, 2, 3]), points([[0, 0], [1, 0], [4, 0]], sigma_m=0.0), 2.0)
    assert pairs.p_violation.tolist() == [1.0, 0.0, 0.0]


def test_people_without_a_position_are_in_no_pair():
    pairs = measure_pairs(np.array([1, 2, 3]), points([[0, 0], [1, 0], [2, 0]], valid=[True, False, True]), 2.0)
    assert list(zip(pairs.id_a, pairs.id_b)) == [(1, 3)]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_people_have_no_distance(count):
    assert len(measure_pairs(np.arange(count), points(np.zeros((count, 2))), 2.0)) == 0


@pytest.mark.parametrize("away_m", [0.3, 1.5, 2.1, 4.0])
@pytest.mark.parametrize(
    "covariance", [np.diag([0.01, 0.04]), np.diag([4.0, 0.01]), np.array([[1.0, 0.8], [0.8, 1.0]]), np.eye(2) * 25.0]
)
def test_the_probability_is_the_share_of_simulated_pairs_that_are_closer(away_m, covariance):
    rng = np.random.default_rng(0)
    difference = np.array([0.6, 0.8]) * away_m
    simulated = difference + rng.multivariate_normal(np.zeros(2), covariance, 200_000)
    share = (np.hypot(*simulated.T) < 2.0).mean()
    ground = GroundPoints(
        np.array([[0.0, 0.0], difference]), np.array([covariance / 2] * 2), np.ones(2, bool), np.zeros((2, 0, 2))
    )
    assert measure_pairs(np.array([1, 2]), ground, 2.0).p_violation[0] == pytest.approx(share, abs=0.004)

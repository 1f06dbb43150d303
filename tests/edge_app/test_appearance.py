from __future__ import annotations

import numpy as np
import pytest

from edge_app.config import TrackerConfig
from edge_app.records import Detections
from edge_app.tracking import Tracker
from edge_app.tracking.appearance import LENGTH, appearance_cost, blend, describe, unknown

RED, BLUE, GREY = (40, 40, 200), (200, 60, 40), (120, 120, 120)


def picture(*people, noise=6):
    """People as (x, y, height, upper colour, lower colour) before a grey wall."""
    image = np.full((240, 320, 3), 150, np.float32)
    for x, y, height, upper, lower in people:
        width = int(0.4 * height)
        image[y : y + height // 2, x : x + width] = upper
        image[y + height // 2 : y + height, x : x + width] = lower
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    boxes = [(x, y, x + int(0.4 * height), y + height) for x, y, height, *_ in people]
    return np.clip(image, 0, 255).astype(np.uint8), np.array(boxes, np.float32)


def looks(*people):
    return describe(*picture(*people))


def test_one_person_looks_alike_at_every_size_and_two_do_not():
    near, far, other = looks((20, 20, 150, RED, GREY), (120, 60, 50, RED, GREY), (220, 60, 60, BLUE, GREY))
    assert near @ near == pytest.approx(1.0, abs=1e-5)
    assert near @ far > 0.9
    assert near @ other < 0.8


def test_red_over_blue_is_not_blue_over_red():
    first, second = looks((20, 20, 100, RED, BLUE), (120, 20, 100, BLUE, RED))
    assert first @ second < 0.7


def test_boxes_at_and_outside_the_border_are_no_fault():
    image, _ = picture((20, 20, 100, RED, BLUE))
    found = describe(image, np.array([[-30, -10, 25, 60], [400, 10, 420, 60], [np.nan] * 4, [5, 5, 5, 5]], np.float32))
    assert found.shape == (4, LENGTH)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert describe(image, np.zeros((0, 4), np.float32)).shape == (0, LENGTH)


def test_likeness_lowers_the_cost_and_what_is_not_known_costs_nothing():
    red, blue = looks((20, 20, 100, RED, GREY), (120, 20, 100, BLUE, GREY))
    cost = appearance_cost(np.stack([red, blue]), np.stack([red, blue]))
    assert (np.diag(cost) < 0).all()
    assert (cost[[0, 1], [1, 0]] > 0).all()
    assert (appearance_cost(unknown(2), np.stack([red, blue])) == 0).all()
    np.testing.assert_allclose(blend(unknown(1), red[None]), red[None], atol=1e-6)


def change_places(described):
    """Two people stand, are hidden for a second in which they change places, and stand again; returns their ids."""
    tracker = Tracker(TrackerConfig(), 0.35)
    red, blue = (150, 60, 100, RED, GREY), (200, 60, 100, BLUE, GREY)
    ids = []
    for frame in range(30):
        if frame == 20:
            red, blue = (200, 60, 100, RED, GREY), (150, 60, 100, BLUE, GREY)
        image, boxes = picture(red, blue)
        if 12 <= frame < 20:
            boxes = boxes[:0]
        appearance = describe(image, boxes) if described else None
        tracks = tracker.update(frame / 8, Detections(boxes, np.full(len(boxes), 0.9, np.float32), appearance))
        place = {round(float(x)): int(track) for track, x in zip(tracks.id, tracks.foot[:, 0])}
        ids.append(
            [place[min(place, key=lambda x: abs(x - person[0] - 20))] for person in (red, blue)] if place else []
        )
    return ids[10], ids[-1]


def test_people_who_change_places_unseen_keep_their_ids_by_their_clothes():
    before, after = change_places(described=True)
    assert sorted(before) == [1, 2]
    assert before == after


def test_motion_alone_cannot_tell_so_that_it_is_the_clothes_that_did():
    before, after = change_places(described=False)
    assert before != after

from __future__ import annotations

import numpy as np
import pytest

from edge_app.config import TrackerConfig
from edge_app.records import Detections
from edge_app.tracking import Tracker
from edge_app.tracking import tracker as tracker_module
from edge_app.tracking.appearance import LENGTH, describe, unknown
from edge_app.tracking.encounters import Encounters, Known
from tests.edge_app.test_appearance import BLUE, GREY, RED, looks, picture

GREEN = (60, 160, 60)


def turn_round(described=True, upper=(RED, BLUE), restart_at=None, fps=8.0, step_px=10):
    """Two people walk towards each other, stand one before the other for a moment, and go back where they came from.

    Returns their ids before and after.
    """
    tracker = Tracker(TrackerConfig(), 0.35)
    steps = np.concatenate([np.arange(0, 90, step_px), np.arange(84, 0, -step_px)])
    ids = []
    for frame, step in enumerate(steps):
        if frame == restart_at:
            before, tracker = tracker, Tracker(TrackerConfig(), 0.35)
            tracker.restore(before.state())
        places = 60 + step, 240 - step
        image, boxes = picture((places[0], 60, 100, upper[0], GREY), (places[1], 62, 100, upper[1], GREY))
        # Of two who stand one before the other the detector finds the nearer one only.
        shown = boxes[1:] if abs(places[0] - places[1]) < 60 else boxes
        appearance = describe(image, shown) if described else None
        tracks = tracker.update(frame / fps, Detections(shown, np.full(len(shown), 0.9, np.float32), appearance))
        feet = tracks.foot[:, 0]
        ids.append([int(tracks.id[np.abs(feet - place - 20).argmin()]) if len(feet) else 0 for place in places])
    return ids[4], ids[-1]


@pytest.mark.parametrize("upper", [(RED, BLUE), (BLUE, RED), (GREEN, BLUE)])
def test_people_who_meet_and_turn_round_keep_their_ids(upper):
    before, after = turn_round(upper=upper)
    assert sorted(before) == [1, 2]
    assert after == before


# So fast that motion alone exchanges them.
FAST = {"fps": 10.0, "step_px": 12}


def test_looks_after_the_encounter_alone_mend_what_motion_exchanged(monkeypatch):
    monkeypatch.setattr(tracker_module, "_SOMEBODY_ELSE", np.inf)
    before, after = turn_round(**FAST)
    assert sorted(before) == [1, 2]
    assert after == before


@pytest.mark.parametrize("described", [True, False])
def test_without_that_they_would_exchange_them(monkeypatch, described):
    monkeypatch.setattr(tracker_module, "_SOMEBODY_ELSE", np.inf)
    monkeypatch.setattr(Encounters, "exchanged", lambda *_: [])
    before, after = turn_round(described, **FAST)
    assert sorted(before) == [1, 2]
    assert after == before[::-1]


@pytest.mark.parametrize("restart_at", [8, 12])
def test_a_restart_in_between_changes_nothing(monkeypatch, restart_at):
    monkeypatch.setattr(tracker_module, "_SOMEBODY_ELSE", np.inf)
    assert turn_round(restart_at=restart_at, **FAST) == turn_round(**FAST)


def test_encounters_outlive_a_restart():
    red, blue = looks((20, 20, 100, RED, GREY), (120, 20, 100, BLUE, GREY))
    first, second = Encounters(), Encounters()
    first.meet(1.0, IDS, TOUCHING)
    first.exchanged(0.05, Known(IDS, APART, np.stack([red, blue]), np.stack([blue, red])))
    second.restore(first.state())
    for name, value in first.state().items():
        np.testing.assert_array_equal(second.state()[name], value)
    assert second.evidence[0] > 0 and second.pairs.tolist() == [[3, 7]]


APART = np.array([[0.0, 0, 40, 100], [100, 0, 140, 100]])
TOUCHING = np.array([[0.0, 0, 40, 100], [30, 0, 70, 100]])
IDS = np.array([7, 3])


def seen(before, now, frames, met=True, step_s=0.2):
    """Return what is exchanged in each frame in which two people stand apart."""
    encounters = Encounters()
    encounters.meet(0.0, IDS, TOUCHING if met else APART)
    known = Known(IDS, APART, before, now)
    return [encounters.exchanged(step_s, known) for _ in range(frames)]


def test_exchanged_looks_exchange_identities_once_and_only_of_those_who_met():
    red, blue = looks((20, 20, 100, RED, GREY), (120, 20, 100, BLUE, GREY))
    before, now = np.stack([red, blue]), np.stack([blue, red])
    found = seen(before, now, 6)
    assert [sorted(pair) for frame in found for pair in frame] == [[0, 1]]
    assert not any(seen(before, now, 6, met=False))
    assert not any(seen(before, before, 20))


def test_people_who_look_alike_are_never_exchanged():
    first, second, third, fourth = looks(*((20 + 60 * index, 20, 100, RED, GREY) for index in range(4)))
    assert not any(seen(np.stack([first, second]), np.stack([third, fourth]), 20))


def test_many_looks_within_a_moment_count_as_one():
    red, blue = looks((20, 20, 100, RED, GREY), (120, 20, 100, BLUE, GREY))
    before, now = np.stack([red, blue]), np.stack([blue, red])
    slow, fast = seen(before, now, 40, step_s=0.2), seen(before, now, 40, step_s=0.02)
    first_slow, first_fast = ([bool(frame) for frame in found].index(True) for found in (slow, fast))
    assert first_fast * 0.02 >= 0.1 and first_fast > 4 * (first_slow + 1)


def test_who_is_not_seen_tells_nothing_and_stays_in_doubt_only_for_a_while():
    red = looks((20, 20, 100, RED, GREY))[0]
    encounters = Encounters()
    encounters.meet(0.0, IDS, TOUCHING)
    known = Known(IDS, APART, np.stack([red, red]), unknown(2))
    assert not any(encounters.exchanged(0.2, known) for _ in range(20))
    assert encounters.involve(IDS).all()
    encounters.meet(2.9, IDS, APART)
    assert encounters.involve(IDS).all()
    encounters.meet(3.1, IDS, APART)
    assert not encounters.involve(IDS).any()


def test_of_three_who_met_the_two_who_changed_places_are_exchanged():
    red, blue, green = looks((20, 20, 100, RED, GREY), (120, 20, 100, BLUE, GREY), (220, 20, 100, GREEN, GREY))
    boxes = np.array([[0.0, 0, 40, 100], [30, 0, 70, 100], [15, 0, 55, 100]])
    ids, encounters = np.array([1, 2, 3]), Encounters()
    encounters.meet(0.0, ids, boxes)
    spread = boxes + np.array([[0.0], [200.0], [400.0]]) * [1, 0, 1, 0]
    before, now = np.stack([red, blue, green]), np.stack([green, blue, red])
    found = [encounters.exchanged(0.2, Known(ids, spread, before, now)) for _ in range(4)]
    assert [pair for frame in found for pair in frame][:1] == [(0, 2)]


def test_one_person_alone_and_nobody_are_no_fault():
    encounters = Encounters()
    nobody = Known(np.zeros(0, np.int64), np.zeros((0, 4)), unknown(0), unknown(0))
    encounters.meet(0.0, nobody.id, nobody.boxes)
    assert encounters.exchanged(0.1, nobody) == []
    encounters.meet(0.1, IDS, TOUCHING)
    assert encounters.exchanged(0.1, nobody) == []
    assert len(encounters.pairs) == 0
    assert unknown(0).shape == (0, LENGTH)


@pytest.mark.parametrize(("second", "ids"), [(RED, [1]), (BLUE, [1, 2])])
@pytest.mark.parametrize("fps", [3.0, 8.0])
def test_who_appears_where_somebody_was_lost_goes_on_only_if_they_look_alike(second, ids, fps):
    tracker = Tracker(TrackerConfig(), 0.35)
    seen = set()
    for frame in range(int(6 * fps)):
        upper = RED if frame / fps < 3 else second
        image, boxes = picture((150, 60, 100, upper, GREY))
        # Nobody is seen for a second.
        boxes = boxes[:0] if 2 <= frame / fps < 3 else boxes
        found = Detections(boxes, np.full(len(boxes), 0.9, np.float32), describe(image, boxes))
        seen.update(tracker.update(frame / fps, found).id.tolist())
    assert sorted(seen) == ids

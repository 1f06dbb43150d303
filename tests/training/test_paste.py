from __future__ import annotations

import cv2
import numpy as np

from training.data.paste import Pasting, paste_people
from training.data.pictures import Example

RED, GREEN = (30, 30, 220), (40, 160, 40)


def example_of_a_red_figure():
    """An ellipse, taller than wide, on green noise."""
    rng = np.random.default_rng(0)
    image = np.clip(np.array(GREEN) + rng.normal(0, 6, (240, 240, 3)), 0, 255).astype(np.uint8)
    cv2.ellipse(image, (120, 120), (30, 80), 0, 0, 360, RED, cv2.FILLED)
    box = np.array([[40, 90, 200, 150]]) / 240
    return Example(cv2.imencode(".png", image)[1].tobytes(), box, np.zeros((0, 4)))


def grey_scene():
    return np.full((300, 300, 3), 128, np.uint8)


def redness(picture):
    return picture[:, :, 2].astype(int) - picture[:, :, 1]


def test_each_pasted_person_fills_its_box_and_nothing_else_is_labelled():
    example = example_of_a_red_figure()
    rng = np.random.default_rng(1)
    boxes = 0
    for _ in range(10):
        options = Pasting(people=(1, 1), height=(0.3, 0.5), decoys=0.0)
        picture, people, hidden = paste_people(grey_scene(), np.zeros((0, 4)), lambda: example, options, 1.0, rng)
        assert len(people) + len(hidden) <= 1
        for top, left, bottom, right in people:
            rows, columns = np.nonzero(redness(picture) > 60)
            found = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            np.testing.assert_allclose(found, [top, left, bottom, right], atol=4)
            boxes += 1
    assert boxes >= 6


def test_a_decoy_is_drawn_but_is_nobody():
    example = example_of_a_red_figure()
    options = Pasting(people=(4, 4), height=(0.3, 0.5), decoys=1.0)
    rng = np.random.default_rng(0)
    seen = [paste_people(grey_scene(), np.zeros((0, 4)), lambda: example, options, 1.0, rng) for _ in range(6)]
    greener = [int((redness(picture) < -60).sum()) for picture, _, _ in seen]
    assert max(greener) > 200
    assert all(len(people) + len(hidden) <= 4 for _, people, hidden in seen)


def test_people_behind_a_pasted_one_are_no_examples():
    example = example_of_a_red_figure()
    behind = np.array([[140.0, 146.0, 160.0, 154.0]])
    options = Pasting(people=(14, 14), height=(0.9, 0.9), decoys=0.0)
    moved = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, people, hidden = paste_people(grey_scene(), behind, lambda: example, options, 1.0, rng)
        rows = [tuple(row) for row in hidden]
        assert (tuple(behind[0]) in rows) != any(tuple(row) == tuple(behind[0]) for row in people)
        moved += tuple(behind[0]) in rows
    assert moved >= 1


def test_without_anybody_to_cut_out_the_scene_stays_as_it_is():
    empty = Example(example_of_a_red_figure().encoded, np.zeros((0, 4)), np.zeros((0, 4)))
    picture, people, hidden = paste_people(
        grey_scene(), np.zeros((0, 4)), lambda: empty, Pasting(), 1.0, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(picture, grey_scene())
    assert len(people) == len(hidden) == 0


def test_people_of_a_group_stand_beside_each_other():
    example = example_of_a_red_figure()

    def nearest(groups):
        rng = np.random.default_rng(3)
        options = Pasting(people=(4, 4), height=(0.2, 0.2), horizon=(-5.0, -5.0), decoys=0.0, groups=groups)
        gaps = []
        for _ in range(12):
            _, people, hidden = paste_people(grey_scene(), np.zeros((0, 4)), lambda: example, options, 1.0, rng)
            boxes = np.concatenate([people, hidden])
            feet = np.column_stack([boxes[:, 2], boxes[:, [1, 3]].mean(axis=1)])
            apart = np.linalg.norm(feet[:, None] - feet[None], axis=2) + 1e6 * np.eye(len(feet))
            gaps.append(np.median(apart.min(axis=1)))
        return np.median(gaps)

    assert nearest(0.9) < 0.6 * nearest(0.0)


def test_things_are_drawn_and_are_nobody():
    options = Pasting(people=(1, 1), height=(0.3, 0.3), decoys=0.0, clutter=6.0)
    example = Example(cv2.imencode(".png", grey_scene())[1].tobytes(), np.zeros((0, 4)), np.zeros((0, 4)))
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(5):
        picture, people, hidden = paste_people(grey_scene(), np.zeros((0, 4)), lambda: example, options, 1.0, rng)
        assert len(people) == len(hidden) == 0
        changed += int((np.abs(picture.astype(int) - 128).max(axis=2) > 20).sum())
    assert changed > 500


def test_somebody_behind_a_thing_is_hidden():
    example = example_of_a_red_figure()
    rng = np.random.default_rng(2)
    few, many = (
        sum(len(paste_people(grey_scene(), np.zeros((0, 4)), lambda: example, options, 1.0, rng)[2]) for _ in range(25))
        for options in (
            Pasting(people=(3, 3), height=(0.5, 0.5), decoys=0.0),
            Pasting(people=(3, 3), height=(0.5, 0.5), decoys=0.0, clutter=25.0),
        )
    )
    assert many > few

from __future__ import annotations

import cv2
import numpy as np

from edge_app.motion_gate import MotionGate, MotionGateConfig
from edge_app.records import Frame

RNG = np.random.default_rng(5)
BACKGROUND = RNG.integers(60, 200, (72, 128, 1)).repeat(15, axis=0).repeat(15, axis=1).repeat(3, axis=2)


def scene(index, person_x=None, height=40, exposure=0, noise=4.0):
    """A 1080p picture with noise, and somebody of ``height`` pixels in it."""
    image = BACKGROUND[:1080].astype(np.float32) + exposure + RNG.normal(0, noise, (1080, 1920, 1))
    if person_x is not None:
        image[500 : 500 + height, person_x : person_x + int(0.4 * height)] = 20
    return Frame(np.clip(image, 0, 255).astype(np.uint8), index, index / 10)


def test_noise_and_exposure_are_no_movement():
    gate = MotionGate(MotionGateConfig(look_every_s=100))
    looked = [gate.must_look(scene(k, exposure=3 * k), False) for k in range(6)]
    assert looked == [True] + [False] * 5


def test_a_small_person_who_comes_in_is_looked_at():
    gate = MotionGate(MotionGateConfig(look_every_s=100))
    assert gate.must_look(scene(0), False)
    assert not gate.must_look(scene(1), False)
    assert gate.must_look(scene(2, person_x=800), False)


def test_another_picture_size_is_looked_at_though_nothing_moved_and_so_is_what_follows_a_failure():
    gate = MotionGate(MotionGateConfig(look_every_s=100))
    large = scene(0, noise=0.0).image
    small = cv2.resize(large, (960, 540), interpolation=cv2.INTER_AREA)
    looked = [gate.must_look(Frame(image, 0, 0.0), False) for image in (large, large, small, small)]
    assert looked == [True, False, True, False]
    gate.forget()
    assert [gate.must_look(Frame(small, 0, 0.0), False) for _ in range(2)] == [True, False]


def test_slow_movement_adds_up():
    gate = MotionGate(MotionGateConfig(look_every_s=100))
    looked = [gate.must_look(scene(k, person_x=800 + 3 * k, height=60), False) for k in range(12)]
    assert sum(looked) >= 2


def test_it_looks_every_so_often_and_always_while_somebody_is_followed():
    gate = MotionGate(MotionGateConfig(look_every_s=0.5))
    frame = scene(0)
    looked = [gate.must_look(Frame(frame.image, k, k / 10), False) for k in range(11)]
    assert looked == [k % 5 == 0 for k in range(11)]
    assert all(gate.must_look(Frame(frame.image, k, k / 10), True) for k in range(11, 15))

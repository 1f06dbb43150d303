from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_app.accelerator.child_interpreter import AcceleratorLost, ChildInterpreter
from edge_app.config import ModelConfig
from edge_app.detector import TFLiteDetector, detect

FAKE = Path(__file__).with_name("fake_child.py")


def start(behaviour, deadline_s=5.0):
    return ChildInterpreter(Path("m_edgetpu.tflite"), "usb:0", deadline_s, (sys.executable, str(FAKE), behaviour))


def picture(score):
    return np.full((1, 2, 2, 3), score, np.uint8)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_model_in_a_child_process_answers_like_one_in_this():
    interpreter = start("never")
    detector = TFLiteDetector([interpreter], "fake", ModelConfig(path=Path("m_edgetpu.tflite")), None)
    for score in (80, 55):
        people = detect(detector, np.full((4, 8, 3), score, np.uint8))
        np.testing.assert_allclose(people.bbox, [[0, 0, 8, 4]])
        np.testing.assert_allclose(people.score, [score / 100])
    interpreter.close()


@pytest.mark.parametrize("can_widen", [True, False])
def test_a_picture_larger_than_the_pipe_arrives_whole(monkeypatch, can_widen):
    monkeypatch.setenv("FAKE_CHILD_SIDE", "1000")
    if not can_widen:
        monkeypatch.setattr("edge_app.accelerator.child_interpreter._PIPE_BYTES", 1 << 40)
    interpreter = start("never")
    for score in (80, 55):
        interpreter.set_tensor(0, np.full((1, 1000, 1000, 3), score, np.uint8))
        interpreter.invoke()
        assert interpreter.get_tensor(2)[0, 0] == np.float32(score / 100)
    interpreter.close()


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("open:refuse", "no Edge TPU answers"),
        ("open:die", "killed by SIGSEGV.*runtime and libedgetpu do not fit"),
        ("open:raise", "ended with status 1, which said: RuntimeError: the driver raised"),
        ("open:babble", "nonsense"),
    ],
)
def test_an_accelerator_that_cannot_be_opened_says_why_and_leaves_nothing_behind(behaviour, said):
    before = open_files()
    with pytest.raises(AcceleratorLost, match=said):
        start(behaviour)
    assert open_files() == before


def test_one_that_hangs_when_it_is_opened_is_given_up(monkeypatch):
    monkeypatch.setattr("edge_app.accelerator.child_interpreter._OPEN_TIMEOUT_S", 0.3)
    with pytest.raises(AcceleratorLost, match="does not answer in time"):
        start("open:hang")


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [("2:hang", "does not answer in time"), ("2:die", "killed by SIGSEGV"), ("2:raise", "the driver raised")],
)
def test_one_that_fails_at_work_is_known_within_its_deadline_and_gone(behaviour, said):
    before = open_files()
    interpreter = start(behaviour, deadline_s=1.0)
    for _ in range(2):
        interpreter.set_tensor(0, picture(50))
        interpreter.invoke()
    started = time.monotonic()
    interpreter.set_tensor(0, picture(50))
    with pytest.raises(AcceleratorLost, match=said):
        interpreter.invoke()
    assert time.monotonic() - started < 4.0
    assert interpreter._process.poll() is not None
    assert open_files() == before

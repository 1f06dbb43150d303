from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge_app.analysis.stages import Prepared, StageTimes, infer
from edge_app.records import Detections, Frame


class SlowFirst:
    """Two at a time; the first frame takes longer than the second."""

    at_once = 2

    def __init__(self, fails_at=None):
        self.running, self.most = 0, 0
        self._fails_at = fails_at
        self._lock = threading.Lock()

    def invoke(self, tensor):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.05 if tensor % 2 == 0 else 0.01)
        with self._lock:
            self.running -= 1
        if tensor == self._fails_at:
            raise RuntimeError("broken")
        return tensor

    def decode(self, outputs, geometry):
        return Detections(np.zeros((outputs, 4), np.float32), np.zeros(outputs, np.float32))


def prepared(count):
    image = np.zeros((8, 8, 3), np.uint8)
    return [Prepared(Frame(index=index, time_s=float(index), image=image), index, None) for index in range(count)]


def test_frames_that_are_inferred_side_by_side_come_out_in_their_order():
    detector, times = SlowFirst(), StageTimes()
    found = [(item.frame.index, len(item.detections)) for item in infer(prepared(7), detector, times)]
    assert found == [(index, index) for index in range(7)]
    assert detector.most == 2
    assert times.seconds["inference"] >= (4 * 0.05 + 3 * 0.01) / 2


def test_an_inference_that_fails_is_raised_at_its_place():
    seen = infer(prepared(7), SlowFirst(fails_at=3), StageTimes())
    assert [next(seen).frame.index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(seen)

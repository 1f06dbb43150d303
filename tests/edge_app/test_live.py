from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge_app.capture.feed import FeedPolicy
from edge_app.config import Config
from edge_app.live import LiveRunner, Mailbox
from edge_app.live.runner import CameraSource
from edge_app.pipeline import Pipeline
from edge_app.records import Frame
from tests.edge_app.scenes import CAMERA, results_of
from tests.edge_app.synthetic import boxes_of_people
from tests.edge_app.test_pipeline import NoModel
from tests.edge_app.waiting import wait_until

RESULTS = results_of([[0.0, 6.0], [1.0, 6.0]])


class FakeSource:
    """Frames at a given rate, for ever or a few."""

    name, width, height, frame_count = "fake", 320, 240, None

    def __init__(self, fps=50.0, frames=None, fail_at=None):
        self.fps = fps
        self.frames = frames
        self.fail_at = fail_at
        self.closed = False

    def __iter__(self):
        index = 0
        while self.frames is None or index < self.frames:
            if index == self.fail_at:
                raise OSError("the cable was pulled")
            yield Frame(np.full((240, 320, 3), 90, np.uint8), index, index / self.fps)
            index += 1

    def close(self):
        self.closed = True


class FakePipeline:
    """Gives a fixed result after a while, and fails on demand."""

    model_name = "fake"

    def __init__(self, camera=CAMERA, seconds=0.0, fail_on=()):
        self.camera = camera
        self.seconds = seconds
        self.fail_on = set(fail_on)
        self.frames = []

    def process(self, frame):
        time.sleep(self.seconds)
        self.frames.append(frame.index)
        if frame.index in self.fail_on:
            raise RuntimeError("a fault on purpose")
        return type(RESULTS[-1])(**{**vars(RESULTS[-1]), "index": frame.index, "time_s": frame.time_s})

    def finish(self):
        return ()


@pytest.fixture
def started():
    runners = []

    def start(source, pipeline):
        runner = LiveRunner(source, pipeline)
        runners.append(runner)
        runner.start()
        return runner

    yield start
    for runner in runners:
        runner.stop()


def test_frames_come_through_and_the_source_is_closed_on_stop(started):
    source = FakeSource()
    runner = started(source, FakePipeline())
    wait_until(lambda: runner.state.latest() is not None and runner.state.latest().sequence >= 5)
    runner.stop()
    assert source.closed
    assert runner.state.health()["faults"] == 0


def test_a_slow_pipeline_gets_the_newest_frame_and_the_rest_is_counted(started):
    pipeline = FakePipeline(seconds=0.1)
    runner = started(FakeSource(fps=200.0), pipeline)
    wait_until(lambda: len(pipeline.frames) >= 5)
    assert runner.dropped > 20
    assert all(later - earlier > 5 for earlier, later in zip(pipeline.frames[1:], pipeline.frames[2:]))


def test_a_fault_is_shown_counted_and_survived(started):
    runner = started(FakeSource(), FakePipeline(fail_on=range(3, 100)))
    wait_until(lambda: runner.state.health()["faults"] >= 1)
    wait_until(lambda: runner.state.latest() is not None and runner.state.latest().frame.index > 100)
    health = runner.state.health()
    assert health["faults"] >= 1
    assert health["fault"] is None


def test_no_picture_is_handed_out_while_a_fault_is_shown(started):
    runner = started(FakeSource(), FakePipeline(fail_on=range(3, 10**6)))
    wait_until(lambda: runner.state.health()["fault"] is not None)
    assert runner.state.wait_newer(0, 0.05) is None


def test_a_source_that_fails_is_shown(started):
    runner = started(FakeSource(fail_at=4), FakePipeline())
    wait_until(lambda: runner.state.health()["fault"] is not None)
    assert "the source fake failed" in runner.state.health()["fault"]


def test_the_end_of_a_recording_is_said(started):
    runner = started(FakeSource(frames=3), FakePipeline())
    wait_until(lambda: runner.state.health()["ended"])


def test_stop_does_not_wait_for_a_pipeline_that_hangs():
    pipeline = FakePipeline()
    hang = threading.Event()
    pipeline.process = lambda frame: (hang.wait(), RESULTS[-1])[1]
    runner = LiveRunner(FakeSource(), pipeline)
    runner.start()
    stopper = threading.Thread(target=runner.stop)
    stopper.start()
    stopper.join(10.0)
    assert not stopper.is_alive()
    hang.set()


def test_events_come_newest_first(started):
    runner = started(FakeSource(frames=1), FakePipeline())
    for number in range(1, 4):
        event = type("E", (), {"event_id": number})()
        result = type(RESULTS[-1])(**{**vars(RESULTS[-1]), "closed_events": (event,)})
        runner.state.publish(Frame(np.zeros((2, 2, 3), np.uint8), 0, 0.0), result, 0.0, 0.0)
    events, total = runner.state.events(2)
    assert [event.event_id for event in events] == [3, 2]
    assert total == 3


def test_a_mailbox_keeps_the_newest_and_counts_the_rest():
    box = Mailbox()
    for index in range(3):
        box.put(Frame(np.zeros((2, 2, 3), np.uint8), index, 0.0))
    assert box.take()[0].index == 2
    assert box.dropped == 2
    box.close()
    assert box.take() is None


def test_a_mailbox_knows_since_when_a_frame_waits_to_be_done_with():
    box = Mailbox()
    assert box.waiting_since_s is None
    box.put(Frame(np.zeros((2, 2, 3), np.uint8), 0, 0.0))
    _, first_s = box.take()
    box.put(Frame(np.zeros((2, 2, 3), np.uint8), 1, 1.0))
    assert box.waiting_since_s == first_s
    _, second_s = box.take()
    box.done_with(first_s)
    assert box.waiting_since_s >= second_s
    box.done_with(second_s)
    assert box.waiting_since_s is None


def test_without_drops_a_mailbox_holds_a_few_in_order_and_then_lets_the_giver_wait():
    box, given = Mailbox(), []

    def give():
        for index in range(12):
            box.put_when_there_is_room(Frame(np.zeros((2, 2, 3), np.uint8), index, 0.0))
            given.append(index)

    giver = threading.Thread(target=give)
    giver.start()
    wait_until(lambda: len(given) >= 2)
    time.sleep(0.05)
    ahead = len(given)
    assert 1 < ahead < 8
    taken = [box.take()[0].index for _ in range(10)]
    assert taken == list(range(10)) and box.dropped == 0
    box.close()
    giver.join(2.0)
    assert not giver.is_alive()


class NoticeSink:
    """Keeps notices, and events that are open at the end."""

    def __init__(self):
        self.notices, self.ended = [], []

    def accept(self, camera, utc_s, result):
        pass

    def end(self, camera, events):
        self.ended.append((camera, events))

    def notice(self, notice):
        self.notices.append((notice.kind, notice.ok))


def test_a_pipeline_that_fails_is_told_once_and_again_when_it_works(monkeypatch):
    monkeypatch.setattr("edge_app.live.runner._FAULT_PAUSE_S", 0.01)
    sink = NoticeSink()
    runner = LiveRunner(FakeSource(), FakePipeline(fail_on=range(5, 15)), sinks=[sink])
    runner.start()
    try:
        wait_until(lambda: ("pipeline", True) in sink.notices)
    finally:
        runner.stop()
    assert [notice for notice in sink.notices if notice[0] == "pipeline"] == [("pipeline", False), ("pipeline", True)]


@pytest.mark.parametrize("frames", [150, None], ids=["the source ends", "the program is stopped"])
def test_events_that_are_open_at_the_end_are_told_once(frames):
    sink, pipeline = NoticeSink(), Pipeline(Config(), NoModel(), CAMERA)
    people = boxes_of_people(CAMERA, np.array([[0.0, 6.0], [1.0, 6.0]]))
    pipeline.process = lambda frame: pipeline.interpret(frame.index, frame.time_s, people)
    source = CameraSource("fake", lambda: FakeSource(frames=frames), FeedPolicy(lossless=True))
    runner = LiveRunner(source, pipeline, camera_name="door", sinks=[sink])

    def has_come():
        newest = runner.state.latest()
        return newest is not None and newest.result.time_s > 2.5

    runner.start()
    try:
        wait_until(lambda: sink.ended if frames else has_come())
    finally:
        runner.stop()
    ((camera, (event,)),) = sink.ended
    assert (camera, event.id_a, event.id_b) == ("door", 1, 2)
    assert event.end_s == pytest.approx(runner.state.latest().result.time_s)
    assert runner.state.events(5) == ([event], 1)


def test_a_pipeline_that_cannot_end_its_events_keeps_nobody_from_stopping(caplog):
    class Broken(FakePipeline):
        def finish(self):
            raise RuntimeError("a fault on purpose")

    sink = NoticeSink()
    runner = LiveRunner(FakeSource(frames=3), Broken(), sinks=[sink])
    runner.start()
    wait_until(lambda: "open at the end are not known" in caplog.text)
    runner.stop()
    assert sink.ended == []

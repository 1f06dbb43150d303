from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge_app.capture.backoff import Backoff
from edge_app.capture.feed import Feed, FeedPolicy
from edge_app.capture.mailbox import Mailbox
from edge_app.capture.opencv_stream import SourceLost
from edge_app.errors import UserError
from edge_app.records import Frame
from tests.edge_app.waiting import wait_until

LIVE = FeedPolicy(is_live=True, stall_timeout_s=0.5, frozen_timeout_s=0)


class Script:
    """A source that does what it is told: a number gives so many frames, a text is the name of a fault."""

    name, fps, frame_count, width, height = "scripted", 50.0, None, 32, 24

    def __init__(self, steps, still=False):
        self.steps, self.still, self.closed, self.release = steps, still, False, threading.Event()

    def __iter__(self):
        index = 0
        for step in self.steps:
            if step == "hang":
                self.release.wait()
                return
            if step == "lost":
                raise SourceLost("the picture of scripted stopped; check it")
            if step == "bug":
                raise ValueError("on purpose")
            for _ in range(step):
                value = 7 if self.still else index % 250
                yield Frame(np.full((24, 32, 3), value, np.uint8), index, time.monotonic())
                index += 1
                time.sleep(0.01)

    def close(self):
        self.closed = True


class _Wakes(Script):
    """A still camera in whose picture something moves after a while."""

    def __iter__(self):
        for frame in super().__iter__():
            if frame.index < 20:
                frame.image[:] = 7
            yield frame


class Heard:
    def __init__(self):
        self.said = []

    def feed_status(self, status, sentence):
        self.said.append((status, sentence))

    @property
    def statuses(self):
        return [status for status, _ in self.said]


@pytest.fixture
def feeding():
    feeds, scripts = [], []

    def start(openings, policy=LIVE):
        openings = iter(openings)
        heard, box = Heard(), Mailbox()

        def opener():
            opening = next(openings)
            if isinstance(opening, Exception):
                raise opening
            scripts.append(opening)
            return opening

        feed = Feed("scripted", opener, box, policy, heard, Backoff(first_s=0.02, longest_s=0.05, seed=1))
        feeds.append(feed)
        feed.start()
        return feed, heard, box

    yield start
    for script in scripts:
        script.release.set()
    for feed in feeds:
        feed.stop(time.monotonic() + 5.0)


def test_a_lost_source_is_opened_again_and_time_and_numbers_go_on(feeding):
    feed, heard, box = feeding([Script([5, "lost"]), Script([5, "bug"]), Script([10**6])])
    seen = []
    while feed.reconnects < 2 or len(seen) < 20 or heard.statuses.count("live") < 3:
        seen.append(box.take()[0])
    assert np.all(np.diff([frame.index for frame in seen]) > 0)
    assert np.all(np.diff([frame.time_s for frame in seen]) > 0)
    assert heard.statuses[:6] == ["connecting", "live", "lost", "live", "lost", "live"]


def test_a_camera_that_is_not_there_is_waited_for(feeding):
    feed, heard, box = feeding([SourceLost("not there"), SourceLost("not there"), Script([10**6])])
    assert box.take()[0].index == 0
    assert feed.attempts == 3
    wait_until(lambda: heard.statuses == ["connecting", "lost", "lost", "live"])


def test_a_reader_that_hangs_is_left_behind_and_what_it_still_gives_is_refused(feeding):
    hanging = Script([3, "hang", 50])
    _, heard, box = feeding([hanging, Script([10**6])])
    wait_until(lambda: heard.statuses.count("live") == 2)
    assert "gives no picture" in next(sentence for status, sentence in heard.said if status == "lost")
    assert not hanging.closed
    hanging.release.set()
    wait_until(lambda: hanging.closed)
    assert box.take() is not None


def test_a_driver_that_hangs_every_time_does_not_use_up_threads(feeding):
    before = threading.active_count()
    feed, heard, _ = feeding([Script(["hang"]) for _ in range(50)], FeedPolicy(is_live=True, stall_timeout_s=0.05))
    wait_until(lambda: any("driver" in sentence for _, sentence in heard.said))
    time.sleep(0.3)
    assert threading.active_count() - before <= 5
    assert feed.attempts <= 4


def test_stop_does_not_wait_for_a_source_that_hangs(feeding):
    feed, _, _ = feeding([Script(["hang"])], FeedPolicy(is_live=True, stall_timeout_s=100))
    wait_until(lambda: feed.attempts == 1)
    started = time.monotonic()
    feed.stop(started + 0.5)
    assert time.monotonic() - started < 1.5


def test_a_frozen_picture_is_a_fault(feeding):
    policy = FeedPolicy(is_live=True, stall_timeout_s=5, frozen_timeout_s=0.4)
    _, heard, _ = feeding([Script([10**6], still=True), Script([10**6])], policy)
    wait_until(lambda: "lost" in heard.statuses)
    assert any("frozen" in sentence for _, sentence in heard.said)
    wait_until(lambda: heard.statuses.count("live") == 2)


def test_a_picture_that_is_still_frozen_after_the_reconnection_is_a_fault_until_another_comes(feeding):
    policy = FeedPolicy(is_live=True, stall_timeout_s=5, frozen_timeout_s=0.4)
    feed, heard, box = feeding([Script([10**6], still=True), Script([10**6], still=True), _Wakes([10**6])], policy)
    wait_until(lambda: feed.reconnects == 2)
    assert heard.statuses.count("live") == 1
    assert any("still gives the frozen picture" in sentence for _, sentence in heard.said)
    box.take()
    # What is taken next is of the last connection: of its still pictures, and those before, none was handed over.
    assert box.take()[0].image[0, 0, 0] != 7
    wait_until(lambda: heard.statuses[-1] == "live")
    assert (heard.statuses.count("live"), feed.attempts) == (2, 3)


def test_a_users_mistake_is_not_tried_again(feeding):
    feed, heard, box = feeding([UserError("source needs another OpenCV; install it")])
    assert box.take() is None
    assert heard.said[-1] == ("failed", "source needs another OpenCV; install it")
    assert feed.attempts == 1


def test_the_end_of_a_recording_is_the_end(feeding):
    _, heard, box = feeding([Script([3])], FeedPolicy(realtime=False, lossless=True))
    indices = [box.take()[0].index for _ in range(3)]
    assert indices == [0, 1, 2]
    assert box.take() is None
    assert heard.statuses == ["connecting", "live", "ended"]


def test_a_cap_passes_frames_over_evenly(feeding):
    class Even(Script):
        def __iter__(self):
            for index in range(90):
                yield Frame(np.zeros((2, 2, 3), np.uint8), index, index / 30)

    feed, _, box = feeding([Even([])], FeedPolicy(realtime=False, lossless=True, max_fps=10.0))
    times = []
    while (item := box.take()) is not None:
        times.append(item[0].time_s)
    np.testing.assert_allclose(np.diff(times), 0.1, atol=0.04)
    assert 28 <= len(times) <= 31
    assert feed.skipped == 90 - len(times)

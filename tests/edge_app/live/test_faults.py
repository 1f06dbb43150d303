"""Faults with real components: a camera on the network that dies, hangs and changes; damaged recordings."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from edge_app.capture.backoff import Backoff
from edge_app.capture.feed import Feed, FeedPolicy
from edge_app.capture.mailbox import Mailbox
from edge_app.capture.open_camera import open_camera
from edge_app.config import SAMPLE, Config, SourceConfig
from edge_app.live import CameraSource, LiveRunner
from edge_app.live.inference_thread import InferenceThread
from edge_app.live.live_pipeline import LivePipeline
from edge_app.source import VideoFile
from tests.edge_app import rtsp
from tests.edge_app.live.test_overlap import StandIn
from tests.edge_app.waiting import wait_until

needs_rtsp = pytest.mark.skipif(rtsp.why_not() is not None, reason=str(rtsp.why_not()))


@pytest.fixture
def camera():
    found = rtsp.RtspCamera()
    yield found
    found.kill()


@pytest.fixture
def watch(camera):
    """Start a runner on the camera; opens again quickly, so that tests do not wait for minutes."""
    started = []

    def start(stall_timeout_s=4.0):
        config = SourceConfig(uri=camera.address, stall_timeout_s=stall_timeout_s)
        policy = FeedPolicy(is_live=True, stall_timeout_s=stall_timeout_s, frozen_timeout_s=0)
        inference = InferenceThread()
        inference.start()
        name = "rtsp camera"
        runner = LiveRunner(
            CameraSource(name, lambda: open_camera(config), policy),
            LivePipeline(Config(), StandIn(0.005)),
            inference=inference,
        )
        runner.feed = Feed(name, lambda: open_camera(config), runner._mailbox, policy, runner, Backoff(0.1, 0.2))
        runner.start()
        started.append((runner, inference))
        return runner

    yield start
    for runner, inference in started:
        runner.stop()
        inference.stop(time.monotonic() + 2.0)


def frames(runner):
    return runner.state.health()["frames"]


@needs_rtsp
def test_a_network_camera_that_is_killed_comes_back_and_its_password_is_never_logged(camera, watch, caplog):
    caplog.set_level(logging.DEBUG)
    camera.start()
    runner = watch()
    wait_until(lambda: frames(runner) >= 5)
    camera.kill()
    wait_until(lambda: runner.state.health()["source"] == "lost")
    assert runner.state.health()["fault"] is not None
    seen = frames(runner)
    camera.start(size=(480, 360))
    wait_until(lambda: frames(runner) >= seen + 5)
    # Whoever watches the connection looks ten times a second; the first frames may be faster.
    wait_until(lambda: runner.state.health()["source"] == "live")
    assert runner.state.health()["fault"] is None
    assert runner.feed.reconnects >= 1
    assert runner.state.latest().frame.image.shape == (360, 480, 3)
    assert "s3cret" not in caplog.text


@needs_rtsp
def test_a_network_camera_that_hangs_is_noticed_and_stop_does_not_wait_for_it(camera, watch):
    camera.start()
    runner = watch(stall_timeout_s=2.0)
    wait_until(lambda: frames(runner) >= 5)
    camera.freeze()
    wait_until(lambda: runner.state.health()["source"] == "lost")
    started = time.monotonic()
    runner.stop()
    assert time.monotonic() - started < 2.5


@needs_rtsp
def test_a_wrong_password_is_told_without_the_password(camera):
    camera.start()
    heard = []

    class Listener:
        def feed_status(self, status, sentence):
            heard.append((status, sentence))

    config = SourceConfig(uri=camera.address.replace("s3cret", "wr0ng"), stall_timeout_s=2)
    feed = Feed("x", lambda: open_camera(config), Mailbox(), FeedPolicy(is_live=True), Listener())
    feed.start()
    wait_until(lambda: any(status == "lost" for status, _ in heard))
    feed.stop(time.monotonic() + 2.0)
    assert "wr0ng" not in str(heard)
    assert "password" in str(heard)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_recording_is_read_to_its_end_without_harm(tmp_path, seed):
    content = bytearray((SAMPLE / "pets_s2l1_excerpt.mp4").read_bytes())
    rng = np.random.default_rng(seed)
    for position in rng.integers(len(content) // 10, len(content) - len(content) // 10, 200):
        content[position] = rng.integers(256)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    times = [frame.time_s for frame in VideoFile(path)]
    assert len(times) > 0
    assert np.all(np.diff(times) > 0)

from __future__ import annotations

import json
import logging
import socket
import threading
import time

import numpy as np
import pytest
from flask import Flask

from edge_app.config import SAMPLE, parse_config
from edge_app.delivery.post_office import WayOut
from edge_app.detector import at_once
from edge_app.json_logs import JsonFormatter
from edge_app.live import LiveRunner
from edge_app.live.monitoring import Monitoring, monitoring_pages
from edge_app.live.run import LiveSystem
from edge_app.live.watchdog import Watchdog
from tests.edge_app.test_live import FakePipeline, FakeSource
from tests.edge_app.waiting import wait_until

CLIP = str(SAMPLE / "pets_s2l1_excerpt.mp4")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Two cameras of one configuration: a recording, and a USB camera that is not plugged in."""
    content = {
        "cameras": {
            "lobby": {"source": {"uri": CLIP, "loop": True}},
            "yard": {"source": {"uri": "97"}},
        }
    }
    running = LiveSystem(parse_config(content, "test", tmp_path_factory.mktemp("live")))
    running.start()
    wait_until(lambda: running.runners["lobby"].state.health()["frames"] >= 3, 60.0)
    wait_until(lambda: running.runners["yard"].state.health()["source"] == "lost")
    yield running
    running.stop()


def test_one_camera_that_is_away_does_not_disturb_the_other(system):
    assert system.runners["lobby"].state.health()["fault"] is None
    assert "/dev/video97 is not there" in system.runners["yard"].state.health()["fault"]


def test_prometheus_gets_every_camera_and_stage(system):
    app = Flask(__name__)
    ways = [WayOut("mqtt", 7, "the broker is gone"), WayOut("webhook-1", 0, None)]
    monitoring = Monitoring(system.runners, system.inference, lambda: system.guarded, lambda: ways)
    app.register_blueprint(monitoring_pages(monitoring))
    reply = app.test_client().get("/metrics")
    assert reply.status_code == 200
    lines = reply.text.splitlines()

    def value(name):
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    assert value('edge_app_frames_total{camera="lobby"}') >= 3
    assert value('edge_app_source_state{camera="lobby",state="live"}') == 1
    assert value('edge_app_source_state{camera="yard",state="lost"}') == 1
    assert value('edge_app_stage_seconds{camera="lobby",quantile="0.5",stage="inference"}') > 0
    assert value("edge_app_inferences_total") >= 3
    assert value('edge_app_delivery_waiting{channel="mqtt"}') == 7
    assert value('edge_app_delivery_trouble{channel="mqtt"}') == 1
    assert value('edge_app_delivery_trouble{channel="webhook-1"}') == 0
    assert np.isnan(value('edge_app_delay_p95_seconds{camera="yard"}'))


def test_systemd_is_told_that_all_is_well_and_not_when_frames_are_stuck(system, tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        watchdog = Watchdog(system.runners, system.inference)
        watchdog.start()
        assert systemd.recv(64) == b"READY=1"
        assert systemd.recv(64) == b"WATCHDOG=1"
        watchdog.stop()
    assert watchdog.is_well()


def test_a_slow_camera_is_well_and_a_pipeline_that_hangs_is_not(monkeypatch):
    monkeypatch.setattr("edge_app.live.watchdog._STUCK_S", 0.5)
    hangs, goes_on = threading.Event(), threading.Event()

    class Slow(FakeSource):
        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                time.sleep(1.0)

    class Hanging(FakePipeline):
        def process(self, frame):
            if hangs.is_set():
                goes_on.wait()
            return super().process(frame)

    runner = LiveRunner(Slow(), Hanging())
    watchdog = Watchdog({"camera": runner}, None)
    runner.start()
    wait_until(lambda: runner.state.health()["frames"] >= 1)
    oldest_s = 0.0
    while runner.state.health()["frames"] < 3:
        assert watchdog.is_well()
        oldest_s = max(oldest_s, runner.state.health()["newest_frame_age_s"])
        time.sleep(0.02)
    assert oldest_s > 0.7
    hangs.set()
    wait_until(lambda: not watchdog.is_well())
    goes_on.set()
    runner.stop()


def test_a_log_line_as_json_holds_message_and_traceback():
    try:
        raise ValueError("on purpose")
    except ValueError as error:
        record = logging.LogRecord(
            "edge_app", logging.ERROR, "f", 1, "it %s", ("failed",), (ValueError, error, error.__traceback__)
        )
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"]) == ("ERROR", "it failed")
    assert "ValueError: on purpose" in line["exception"]
    assert line["time"].endswith("+00:00")


def test_recordings_at_full_speed_are_inferred_side_by_side_and_cameras_one_after_the_other(tmp_path):
    for pace, expected in (("fast", 2), ("realtime", 1)):
        config = {"source": {"uri": CLIP, "loop": True, "pace": pace}}
        assert at_once(LiveSystem(parse_config(config, "test", tmp_path)).detector) == expected

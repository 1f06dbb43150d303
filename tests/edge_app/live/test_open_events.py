"""Events that are open when a camera's watching ends: at a stop, and at the end of a recording."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

import pytest

from edge_app.config import Config
from edge_app.live import CameraSource, LiveRunner
from edge_app.live.inference_thread import InferenceThread
from edge_app.pipeline import Pipeline
from edge_app.storage import Store
from edge_app.storage.wiring import open_sinks
from tests.edge_app.live.test_overlap import CAMERA, FAST, REALTIME, Frames, Sink, StandIn
from tests.edge_app.waiting import wait_until


class Calibrated(Pipeline):
    """A pipeline that is made for the frames' size."""

    adapt_to = Pipeline.watch

    def __init__(self, detector=None, **config):
        config = {"still_things": {"enabled": False}, **config}
        super().__init__(Config.model_validate(config), detector or StandIn(0.001), CAMERA)

    @property
    def violated_s(self):
        """Seconds for which the open event has lasted."""
        opened = list(self._events._open.values())
        return max((event.last_s - event.start_s for event in opened), default=0.0)


@pytest.fixture
def start():
    running = []

    def start_runners(*pipelines, frames=None, policy=REALTIME, sinks=()):
        inference = InferenceThread()
        inference.start()
        runners = [
            LiveRunner(
                CameraSource("frames", lambda: frames or Frames(fps=50.0), policy),
                pipeline,
                camera_name=f"camera{number}",
                sinks=sinks,
                inference=inference,
            )
            for number, pipeline in enumerate(pipelines)
        ]
        running.append((inference, runners))
        for runner in runners:
            runner.start()
        return runners

    yield start_runners
    for inference, runners in running:
        for runner in runners:
            runner.stop()
        inference.stop(time.monotonic() + 2.0)


class Sink(Sink):
    def __init__(self):
        super().__init__()
        self.finished = []

    def end(self, camera, events):
        self.finished.append((camera, events))


def closed_in(sink):
    """Return the events that a sink was told, with their camera, whatever told them."""
    closed = [(camera, event) for camera, _, result in sink.results for event in result.closed_events]
    return closed + [(camera, event) for camera, events in sink.finished for event in events]


def test_events_that_are_open_at_a_stop_are_told_once_by_every_camera(start):
    sink, pipelines = Sink(), (Calibrated(), Calibrated())
    runners = start(*pipelines, sinks=[sink])
    wait_until(lambda: all(pipeline.violated_s > 1.2 for pipeline in pipelines))
    for runner in (*runners, *runners):
        runner.stop()
    assert sorted(camera for camera, _ in closed_in(sink)) == ["camera0", "camera1"]
    for runner, (_, event) in zip(runners, sorted(closed_in(sink), key=lambda told: told[0])):
        assert event.end_s == runner.state.latest().result.time_s
        assert runner.state.events(9) == ([event], 1)


def test_events_that_are_open_at_the_end_of_a_recording_are_told_before_any_stop(start):
    sink = Sink()
    (runner,) = start(Calibrated(), frames=Frames(fps=10.0, count=40), policy=FAST, sinks=[sink])
    wait_until(lambda: sink.finished)
    runner.stop()
    ((_, event),) = closed_in(sink)
    assert event.end_s == pytest.approx(3.9)


def test_a_source_that_fails_ends_its_events_too(start):
    class Breaks(Frames):
        def __iter__(self):
            yield from super().__iter__()
            raise OSError("the card was pulled")

    sink = Sink()
    start(Calibrated(), frames=Breaks(fps=10.0, count=40), policy=FAST, sinks=[sink])
    wait_until(lambda: sink.finished)
    assert len(closed_in(sink)) == 1


def test_an_event_that_is_too_short_at_the_end_is_dropped_and_counted(start):
    sink, pipeline = Sink(), Calibrated(events={"min_duration_s": 9.0})
    (runner,) = start(pipeline, frames=Frames(fps=10.0, count=40), policy=FAST, sinks=[sink])
    wait_until(lambda: pipeline.events_dropped_short == 1)
    runner.stop()
    assert (closed_in(sink), pipeline.events_dropped_short) == ([], 1)


@pytest.mark.parametrize("stage", ["the model", "the pipeline"])
def test_a_stop_in_time_tells_the_open_events_unless_the_pipeline_itself_hangs(start, stage):
    hangs, goes_on = threading.Event(), threading.Event()

    def hang():
        if hangs.is_set():
            goes_on.wait()

    class Hangs(StandIn):
        def invoke(self, tensor):
            if stage == "the model":
                hang()
            return super().invoke(tensor)

    class Calibrating(Calibrated):
        def follow(self, *frame):
            if stage == "the pipeline":
                hang()
            return super().follow(*frame)

    sink, pipeline = Sink(), Calibrating(Hangs(0.001))
    (runner,) = start(pipeline, sinks=[sink])
    wait_until(lambda: pipeline.violated_s > 1.2)
    hangs.set()
    time.sleep(0.2)
    began_s = time.monotonic()
    runner.stop()
    assert time.monotonic() - began_s < 2.3
    told = [event for _, event in closed_in(sink)]
    results = len(sink.results)
    goes_on.set()
    runner._threads[-1].join(5.0)
    assert [event for _, event in closed_in(sink)] == told
    assert len(told) == (stage == "the model")
    # Who was given up tells no more results, which would come after the last events.
    assert len(sink.results) == results


def test_a_stop_takes_no_longer_for_a_sink_that_hangs_at_the_last_events(start):
    hangs, goes_on = threading.Event(), threading.Event()

    class Hangs(StandIn):
        def invoke(self, tensor):
            if hangs.is_set():
                goes_on.wait()
            return super().invoke(tensor)

    class Slow(Sink):
        def end(self, camera, events):
            goes_on.wait()

    pipeline = Calibrated(Hangs(0.001))
    (runner,) = start(pipeline, sinks=[Slow()])
    wait_until(lambda: pipeline.violated_s > 1.2)
    hangs.set()
    began_s = time.monotonic()
    runner.stop()
    took_s = time.monotonic() - began_s
    goes_on.set()
    assert took_s < 2.3


def test_a_pipeline_that_failed_on_the_last_frame_tells_no_event_and_one_that_works_again_does(start, monkeypatch):
    monkeypatch.setattr("edge_app.live.runner._FAULT_PAUSE_S", 0.01)

    class Fails(Calibrated):
        def __init__(self, numbers):
            super().__init__()
            self.numbers = numbers

        def measure(self, followed):
            if followed.index in self.numbers:
                raise RuntimeError("a fault on purpose")
            return super().measure(followed)

    sink = Sink()
    pipelines = Fails({39}), Fails({30})
    runners = start(*pipelines, frames=Frames(fps=10.0, count=40), policy=FAST, sinks=[sink])
    wait_until(lambda: not any(runner._threads[-1].is_alive() for runner in runners))
    assert [camera for camera, _ in closed_in(sink)] == ["camera1"]


def test_a_model_that_failed_on_the_last_frame_takes_no_event_away(start, monkeypatch):
    monkeypatch.setattr("edge_app.live.runner._FAULT_PAUSE_S", 0.01)

    class Fails(StandIn):
        def invoke(self, tensor):
            if self.calls == 39:
                raise RuntimeError("a fault on purpose")
            return super().invoke(tensor)

    sink = Sink()
    start(Calibrated(Fails(0.001)), frames=Frames(fps=10.0, count=40), policy=FAST, sinks=[sink])
    wait_until(lambda: sink.finished)
    ((_, event),) = closed_in(sink)
    assert event.end_s == pytest.approx(3.8)


def test_an_event_that_is_open_at_a_stop_is_in_history_and_sent_once_and_its_alert_goes_on(start, tmp_path):
    rules = [{"name": "close", "kind": "violation", "sustained_s": 1}]
    hook = {"url": "http://127.0.0.1:9/", "send": ["event", "alert"]}
    config = Config.model_validate(
        {
            "storage": {"folder": str(tmp_path), "min_free_mb": 0, "commit_s": 0.02},
            "alerts": {"rules": rules, "receivers": {"webhooks": [hook]}},
            "cameras": {"camera0": {"source": {"uri": "rtsp://a/1"}}},
        }
    )

    def watch():
        places = {name: camera.metrics for name, camera in config.for_each_camera().items()}
        with open_sinks(config, places) as sinks:
            pipeline = Calibrated()
            (runner,) = start(pipeline, sinks=sinks)
            wait_until(lambda: pipeline.violated_s > 1.5)
            began_s = time.time()
            runner.stop()
        return began_s, pipeline

    stopped_utc_s, _ = watch()
    store = Store(config.storage.path)
    (event,) = store.events().events
    assert event.duration_s > 1.2
    assert event.end_utc_s == pytest.approx(stopped_utc_s, abs=1.0)
    assert [alert.state for alert in store.alerts()] == ["firing"]
    with sqlite3.connect(config.storage.path) as connection:
        kinds = [json.loads(payload)["kind"] for (payload,) in connection.execute("SELECT payload FROM outbox")]
    assert sorted(kinds) == ["alert", "event"]
    with open_sinks(config, {"camera0": config.metrics}):
        pass
    assert len(store.events().events) == 1
    watch()
    first, second = sorted(store.events().events, key=lambda event: event.start_utc_s)
    assert first == event
    assert second.start_utc_s > first.end_utc_s
    assert [alert.state for alert in store.alerts()] == ["firing"]

"""Figures for Prometheus, read from the running system when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.accelerator.temperature import read_temperatures
from edge_app.delivery.post_office import WayOut
from edge_app.live.inference_thread import InferenceThread
from edge_app.live.runner import LiveRunner

_PREFIX = "edge_app_"
_SOURCE_STATES = ("connecting", "live", "lost", "ended", "failed")


class Monitoring:
    """A Prometheus collector over all cameras and the accelerator."""

    def __init__(
        self,
        runners: Mapping[str, LiveRunner],
        inference: InferenceThread,
        guarded: Callable[[], Optional[GuardedDetector]],
        ways_out: Callable[[], list[WayOut]] = lambda: [],
    ) -> None:
        """Args:
        runners: by the cameras' names.
        inference: the thread that they share.
        guarded: gives the detector that is on an accelerator now, None where there is none.
        ways_out: says how each way out of messages does.
        """
        self._runners = runners
        self._inference = inference
        self._guarded = guarded
        self._ways_out = ways_out

    def collect(self) -> Iterator[Metric]:
        """Yield all figures."""
        yield from self._of_cameras()
        yield from self._of_stages()
        yield from self._of_accelerator()
        yield from self._of_delivery()
        for temperature in read_temperatures():
            yield _gauge("accelerator_celsius", "temperature", temperature.celsius, device=temperature.device)
            yield _gauge(
                "accelerator_clock_divisor",
                "1 at full speed, more while it is throttled for heat",
                temperature.clock_divisor,
                device=temperature.device,
            )

    def _of_cameras(self) -> Iterator[Metric]:
        counters = {
            "frames": ("frames analysed", lambda runner, said: said["frames"]),
            "dropped_frames": ("frames for which there was no time", lambda runner, said: runner.dropped),
            "skipped_frames": ("frames passed over for source.max_fps", lambda runner, said: runner.feed.skipped),
            "quiet_frames": ("frames in which nothing moved", lambda runner, said: runner.passed_over),
            "faults": ("faults of source and pipeline", lambda runner, said: said["faults"]),
            "reconnects": ("how often the source was lost", lambda runner, said: runner.feed.reconnects),
            "connection_attempts": ("how often the source was opened", lambda runner, said: runner.feed.attempts),
            "events": ("violation events", lambda runner, said: runner.state.events(0)[1]),
        }  # fmt: skip
        gauges = {
            "fps": ("frames analysed a second", lambda said: said["fps"]),
            "newest_frame_age_seconds": ("since the newest result", lambda said: said["newest_frame_age_s"]),
            "delay_p95_seconds": (
                "from frame captured to result, 95th percentile of the newest frames",
                lambda said: float("nan") if said["delay_p95_ms"] is None else said["delay_p95_ms"] / 1000.0,
            ),
        }
        health = {name: runner.state.health() for name, runner in self._runners.items()}
        for key, (help_text, read) in counters.items():
            counter = CounterMetricFamily(_PREFIX + key, help_text, labels=["camera"])
            for name, runner in self._runners.items():
                counter.add_metric([name], float(read(runner, health[name])))
            yield counter
        for key, (help_text, read_gauge) in gauges.items():
            gauge = GaugeMetricFamily(_PREFIX + key, help_text, labels=["camera"])
            for name, said in health.items():
                gauge.add_metric([name], float(read_gauge(said)))
            yield gauge
        source = GaugeMetricFamily(_PREFIX + "source_state", "1 for the state it is in", labels=["camera", "state"])
        people = GaugeMetricFamily(_PREFIX + "people", "people seen now, NaN where no picture comes", labels=["camera"])
        things = GaugeMetricFamily(
            _PREFIX + "still_things", "things that never move, taken for people and left out", labels=["camera"]
        )
        for name, runner in self._runners.items():
            for state in _SOURCE_STATES:
                source.add_metric([name, state], float(health[name]["source"] == state))
            newest = runner.state.latest()
            seen = newest.result.tracks.observed.sum() if newest and health[name]["current"] else "nan"
            people.add_metric([name], float(seen))
            things.add_metric([name], float(len(newest.result.things)) if newest else 0.0)
        yield source
        yield people
        yield things

    def _of_stages(self) -> Iterator[Metric]:
        stages = GaugeMetricFamily(
            _PREFIX + "stage_seconds",
            "time of a stage for one frame, as of late",
            labels=["camera", "stage", "quantile"],
        )
        for name, runner in self._runners.items():
            for stage, row in runner.times.summary_ms().items():
                stages.add_metric([name, stage, "0.5"], row["median"] / 1000.0)
                stages.add_metric([name, stage, "0.95"], row["p95"] / 1000.0)
        yield stages

    def _of_accelerator(self) -> Iterator[Metric]:
        yield _counter("inferences", "frames that went through the model", self._inference.inferences)
        yield _counter("inference_seconds", "time spent in the model", self._inference.busy_s)
        detector = self._guarded()
        if detector is not None:
            yield _gauge("accelerator_in_use", "0: the CPU stands in, or nothing", detector.in_use == "accelerator")
            yield _counter("accelerator_failures", "how often the accelerator was lost", detector.failures)
            yield _counter("accelerator_reopened", "how often the accelerator came back", detector.reopened)

    def _of_delivery(self) -> Iterator[Metric]:
        trouble = GaugeMetricFamily(
            _PREFIX + "delivery_trouble", "1: messages do not get out this way now", labels=["channel"]
        )
        waiting = GaugeMetricFamily(
            _PREFIX + "delivery_waiting", "messages that their receiver has not confirmed", labels=["channel"]
        )
        for way in self._ways_out():
            trouble.add_metric([way.channel], float(way.trouble is not None))
            waiting.add_metric([way.channel], float("nan") if way.waiting is None else float(way.waiting))
        yield trouble
        yield waiting


def monitoring_pages(monitoring: Monitoring) -> Blueprint:
    """Return the page ``/metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(monitoring)
    pages = Blueprint("monitoring", __name__)

    @pages.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return pages


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, help_text, value=float(value))


def _gauge(name: str, help_text: str, value: float, **labels: Any) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, help_text, labels=list(labels))
    family.add_metric([str(label) for label in labels.values()], float(value))
    return family

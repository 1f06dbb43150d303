"""``run``: cameras, accelerator and dashboard put together, until a signal comes."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import cv2

from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.accelerator.in_use import InferenceInUse, inference_in_use
from edge_app.accelerator.open_detector import open_detector
from edge_app.calibration import load_camera
from edge_app.capture.feed import FeedPolicy
from edge_app.capture.open_camera import open_camera, source_address
from edge_app.config import Config, ModelConfig, SourceConfig
from edge_app.delivery.post_office import PostOffice, WayOut
from edge_app.detector import Detector, at_once
from edge_app.live.inference_thread import InferenceThread
from edge_app.live.live_pipeline import LivePipeline
from edge_app.live.monitoring import Monitoring, monitoring_pages
from edge_app.live.runner import CameraSource, LiveRunner
from edge_app.live.watchdog import Watchdog
from edge_app.model_store.trial import open_watched
from edge_app.motion_gate import MotionGate
from edge_app.sinks import ResultSink
from edge_app.source import Source
from edge_app.storage.store import Store
from edge_app.storage.wiring import open_sinks
from edge_app.tiles.tiled_detector import with_tiles

if TYPE_CHECKING:
    from edge_app.web.server import DashboardServer

_STOP_S = 2.0
# Python lets a thread that computes go on for 5 ms before another gets its turn. An accelerator is done after 6 and
# would wait as long again for the thread that feeds it.
_SWITCH_INTERVAL_S = 0.0003


class LiveSystem:
    """All cameras of a configuration on one accelerator.

    Attributes:
        runners: by the cameras' names.
        pipelines: by the cameras' names.
        inference: the thread that they share.
        detector: the model, without tiles.
        guarded: the same where it is on an accelerator that may fail, else None.
    """

    def __init__(self, config: Config, sinks: Sequence[ResultSink] = (), detector: Optional[Detector] = None) -> None:
        """Open the model, and the recordings among the sources; cameras are connected to later, and again and again.

        Args:
            config: the whole configuration.
            sinks: take all cameras' results and notices.
            detector: in place of the configured model.

        Raises:
            UserError: a model, a calibration or a recording cannot be used.
        """
        cameras = config.for_each_camera()
        sources = {name: camera_source(camera.source) for name, camera in cameras.items()}
        self._model = config.model
        self.guarded = detector if isinstance(detector, GuardedDetector) else None
        self.runners: dict[str, LiveRunner] = {}
        # A recording that is played as fast as it goes wants many inferences a second; a camera wants each one soon.
        self._side_by_side = all(source.policy.lossless for source in sources.values())
        self.detector: Detector = detector or open_watched(config.model, self._open, counts_start=True)
        self.inference = InferenceThread(at_once(self.detector))
        self.pipelines: dict[str, LivePipeline] = {}
        for name, camera in cameras.items():
            calibrated = None if camera.calibration is None else load_camera(camera.calibration)
            tiled = with_tiles(self.detector, camera.tiles, calibrated, in_real_time=True)
            self.pipelines[name] = LivePipeline(camera, tiled)
            runner = self.runners[name] = LiveRunner(
                sources[name],
                self.pipelines[name],
                camera_name=name,
                sinks=sinks,
                inference=self.inference,
                gate=MotionGate(camera.motion_gate) if camera.motion_gate.enabled else None,
            )
            if self.guarded is not None:
                self.guarded.listen(partial(runner.report, "accelerator"))

    def _open(self, config: ModelConfig) -> Detector:
        """Open a model: the configured one, and the last good one when a newly installed one does not prove itself."""
        detector = open_detector(config, side_by_side=self._side_by_side)
        self.guarded = detector if isinstance(detector, GuardedDetector) else None
        if self.guarded is not None:
            for runner in self.runners.values():
                self.guarded.listen(partial(runner.report, "accelerator"))
        return detector

    def inference_in_use(self) -> InferenceInUse:
        """Say what does the inferences now."""
        return inference_in_use(self.detector, self.guarded, self._model)

    def start(self) -> None:
        """Start everything."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        # Pictures are small and stages run side by side already; OpenCV's own threads would spin in between.
        cv2.setNumThreads(1)
        self.inference.start()
        for runner in self.runners.values():
            runner.start()

    def stop(self) -> None:
        """Stop within two seconds, whatever hangs."""
        deadline_s = time.monotonic() + _STOP_S
        # The cameras are independent; each may use up the whole time.
        stoppers = [threading.Thread(target=runner.stop, daemon=True) for runner in self.runners.values()]
        for stopper in stoppers:
            stopper.start()
        if self.guarded is not None:
            self.guarded.close()
        self.inference.stop(deadline_s)
        for stopper in stoppers:
            stopper.join(max(0.0, deadline_s - time.monotonic()))


def camera_source(config: SourceConfig) -> CameraSource:
    """Return how to get at a configured source; a recording is opened at once, so that mistakes come out at once.

    Raises:
        UserError: there is none, it is of no known kind, or it is a recording that can't be read.
    """
    address = source_address(config)
    if address.is_live:
        policy = FeedPolicy(
            is_live=True,
            max_fps=config.max_fps,
            stall_timeout_s=config.stall_timeout_s,
            frozen_timeout_s=config.frozen_timeout_s,
        )
        return CameraSource(address.name, lambda: open_camera(config), policy)
    opened: list[Source] = [open_camera(config)]
    fast = config.pace == "fast"
    policy = FeedPolicy(realtime=not fast, lossless=fast, max_fps=config.max_fps)
    return CameraSource(address.name, lambda: opened.pop() if opened else open_camera(config), policy)


def run_live(config: Config, config_path: Optional[Path] = None) -> None:
    """Watch the configured sources and serve the dashboard until SIGINT or SIGTERM.

    Args:
        config: with what the command line overrules.
        config_path: the file that it was read from, which the dashboard's settings change; None without one.

    Raises:
        UserError: source, model, calibration or address cannot be used.
    """
    from edge_app.web.server import check_dashboard, check_free  # noqa: PLC0415 - the runner needs no web server

    # Before storage is opened, so that a start that fails leaves no folder behind.
    check_dashboard(config.dashboard)
    check_free(config.dashboard)
    metrics = {name: camera.metrics for name, camera in config.for_each_camera().items()}
    post = PostOffice(config) if config.storage.enabled else None
    with open_sinks(config, metrics, post) as sinks:
        system = LiveSystem(config, sinks)
        server = _dashboard(system, config, config_path, (lambda: []) if post is None else post.ways_out)
        watchdog = Watchdog(system.runners, system.inference)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        system.start()
        server.start()
        watchdog.start()
        print(server.invitation, flush=True)
        stop.wait()
        watchdog.stop()
        server.stop()
        system.stop()


def _dashboard(
    system: LiveSystem, config: Config, config_path: Optional[Path], ways_out: Callable[[], list[WayOut]]
) -> DashboardServer:
    from edge_app.web.server import DashboardServer  # noqa: PLC0415 - the runner itself needs no web server
    from edge_app.web.settings import Settings  # noqa: PLC0415
    from edge_app.web.site import CameraView  # noqa: PLC0415

    cameras = {
        name: CameraView(name, runner, system.pipelines[name], config) for name, runner in system.runners.items()
    }
    store = Store(config.storage.path) if config.storage.enabled else None
    pages = monitoring_pages(Monitoring(system.runners, system.inference, lambda: system.guarded, ways_out))
    return DashboardServer(cameras, Settings(config, config_path), store, [pages], system.inference_in_use, ways_out)

"""The live runner: capture and pipeline in threads of their own, the newest frame only, what they say in one place."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.records import Frame, FrameResult, ViolationEvent
from edge_app.sinks import ResultSink
from edge_app.source import Source, open_source

log = logging.getLogger(__name__)

# Events that the dashboard can look back on.
_KEPT_EVENTS = 500
# Frames whose times make the frame rate that is shown.
_RATE_FRAMES = 30
# Pause after a fault of the pipeline, so that a fault in every frame does not spin.
_FAULT_PAUSE_S = 0.5
_STOP_TIMEOUT_S = 2.0


class FrameProcessor(Protocol):
    """What the runner needs of the pipeline."""

    camera: Optional[CameraModel]

    @property
    def model_name(self) -> str:
        """Name of the detector's model."""

    def process(self, frame: Frame) -> FrameResult:
        """Run every stage on one frame."""


@dataclass(frozen=True)
class Snapshot:
    """The newest processed frame.

    Attributes:
        sequence: grows by one with every processed frame.
        frame: with its picture, people not hidden: it must not leave the process as it is.
        result: of the pipeline.
        delay_s: from capture to result.
    """

    sequence: int
    frame: Frame
    result: FrameResult
    delay_s: float


class Mailbox:
    """Hands over one frame; a newer one replaces it and is counted as a drop."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Optional[tuple[Frame, float]] = None
        self._closed = False
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Leave a frame, stamped with the monotonic clock."""
        with self._condition:
            if self._item is not None:
                self.dropped += 1
            self._item = (frame, time.monotonic())
            self._condition.notify()

    def take(self) -> Optional[tuple[Frame, float]]:
        """Wait for a frame and when it was captured; None once the box is closed and empty."""
        with self._condition:
            while self._item is None and not self._closed:
                self._condition.wait()
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """No more frames come; wakes the taker."""
        with self._condition:
            self._closed = True
            self._condition.notify()


class LiveState:
    """What is known now, for any number of readers in other threads."""

    def __init__(self, source_name: str, model_name: str, calibrated: bool) -> None:
        self.source_name = source_name
        self.model_name = model_name
        self.calibrated = calibrated
        self.started_s = time.monotonic()
        self._condition = threading.Condition()
        self._snapshot: Optional[Snapshot] = None
        self._snapshot_s = 0.0
        self._finished_s: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._events: deque[ViolationEvent] = deque(maxlen=_KEPT_EVENTS)
        self._event_count = 0
        self._faults = 0
        self._fault: Optional[str] = None
        self._source_fault: Optional[str] = None
        self._ended = False

    def publish(self, frame: Frame, result: FrameResult, delay_s: float) -> None:
        """Make a processed frame known; a fault that was shown is over."""
        with self._condition:
            sequence = self._snapshot.sequence + 1 if self._snapshot else 1
            self._snapshot = Snapshot(sequence, frame, result, delay_s)
            self._snapshot_s = time.monotonic()
            self._finished_s.append(self._snapshot_s)
            self._events.extend(result.closed_events)
            self._event_count += len(result.closed_events)
            self._fault = None
            self._condition.notify_all()

    def report_fault(self, sentence: str) -> None:
        """Show a fault and count it; the picture of before is withheld until frames come again."""
        with self._condition:
            self._faults += 1
            self._fault = sentence
            self._condition.notify_all()

    def report_source_fault(self, sentence: str) -> None:
        """Show that no more frames will come; unlike a fault of one frame this does not pass."""
        with self._condition:
            self._faults += 1
            self._source_fault = sentence
            self._condition.notify_all()

    def end(self) -> None:
        """The source has no more frames."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def wait_newer(self, sequence: int, timeout_s: float) -> Optional[Snapshot]:
        """Wait for a snapshot after ``sequence``; None when none came in time or a fault is shown."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._snapshot is not None and self._snapshot.sequence > sequence, timeout_s
            )
            snapshot = self._snapshot
            return snapshot if snapshot is not None and snapshot.sequence > sequence and not self._fault else None

    def latest(self) -> Optional[Snapshot]:
        """Return the newest snapshot, if there is one."""
        with self._condition:
            return self._snapshot

    def events(self, limit: int) -> tuple[list[ViolationEvent], int]:
        """Return the newest events, newest first, and how many there were in all."""
        with self._condition:
            return list(self._events)[: -limit - 1 : -1], self._event_count

    def health(self) -> dict[str, Any]:
        """Return frame rate, delay, age of the newest frame, faults and what is wrong now."""
        with self._condition:
            times = list(self._finished_s)
            age_s = time.monotonic() - (self._snapshot_s if self._snapshot else self.started_s)
            fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0
            delay_s = self._snapshot.delay_s if self._snapshot else None
            return {
                "fps": round(fps, 1) if age_s < 2.0 else 0.0,
                "delay_ms": None if delay_s is None else round(1000 * delay_s, 1),
                "newest_frame_age_s": round(age_s, 2),
                "faults": self._faults,
                "fault": self._source_fault or self._fault,
                "ended": self._ended,
            }


class LiveRunner:
    """Moves frames from a source through the pipeline into a ``LiveState``.

    A file is played at its own pace. The capture thread never waits for the pipeline: what it can't take in time is
    dropped and counted.
    """

    def __init__(
        self,
        source: Source,
        pipeline: FrameProcessor,
        camera_name: str = "camera",
        sinks: Sequence[ResultSink] = (),
    ) -> None:
        self._camera_name = camera_name
        self._sinks = tuple(sinks)
        self.state = LiveState(source.name, pipeline.model_name, pipeline.camera is not None)
        self._source = source
        self._pipeline = pipeline
        self._mailbox = Mailbox()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._capture, name="capture", daemon=True),
            threading.Thread(target=self._process, name="pipeline", daemon=True),
        ]

    @property
    def dropped(self) -> int:
        """Frames that the pipeline could not take in time."""
        return self._mailbox.dropped

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop within two seconds, whatever hangs."""
        self._stopping.set()
        self._mailbox.close()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._source.close()

    def _capture(self) -> None:
        started_s: Optional[float] = None
        try:
            for frame in self._source:
                if started_s is None:
                    started_s = time.monotonic() - frame.time_s
                if self._stopping.wait(max(0.0, started_s + frame.time_s - time.monotonic())):
                    return
                self._mailbox.put(frame)
            self.state.end()
        except Exception:
            log.exception("the source failed")
            self.state.report_source_fault(f"the source {self.state.source_name} failed; see the log, then start again")
        finally:
            self._mailbox.close()

    def _process(self) -> None:
        while not self._stopping.is_set():
            item = self._mailbox.take()
            if item is None:
                return
            frame, captured_s = item
            try:
                result = self._pipeline.process(frame)
            except Exception:
                log.exception("the pipeline failed on frame %d", frame.index)
                self.state.report_fault("the pipeline failed on a frame; the picture is withheld, see the log")
                self._stopping.wait(_FAULT_PAUSE_S)
                continue
            delay_s = time.monotonic() - captured_s
            self.state.publish(frame, result, delay_s)
            for sink in self._sinks:
                sink.accept(self._camera_name, time.time() - delay_s, result)


def run_live(config: Config, config_path: Optional[Path] = None) -> None:
    """Watch the configured source and serve the dashboard until SIGINT or SIGTERM.

    Args:
        config: with what the command line overrules.
        config_path: the file that it was read from, which the dashboard's settings change; None without one.

    Raises:
        UserError: source, model, calibration or address cannot be used.
    """
    from edge_app.pipeline import Pipeline  # noqa: PLC0415 - the runner itself needs no model
    from edge_app.storage.store import Store  # noqa: PLC0415
    from edge_app.storage.wiring import open_sinks  # noqa: PLC0415
    from edge_app.web.server import DashboardServer  # noqa: PLC0415
    from edge_app.web.settings import Settings  # noqa: PLC0415
    from edge_app.web.site import CameraView  # noqa: PLC0415

    source = open_source(config.source)
    size = (source.width, source.height)
    pipeline = Pipeline.from_config(config, size)
    with open_sinks(config) as sinks:
        runner = LiveRunner(source, pipeline, "camera", sinks)
        view = CameraView("camera", runner, pipeline, size, config)
        store = Store(config.storage.path) if config.storage.enabled else None
        server = DashboardServer({view.name: view}, Settings(config, config_path), store)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        runner.start()
        server.start()
        print(server.invitation, flush=True)
        stop.wait()
        server.stop()
        runner.stop()

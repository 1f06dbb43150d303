"""One camera, live: its frames through detector and pipeline into a ``LiveState`` and to all who listen."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Optional, Protocol, Union

from edge_app.calibration import CameraModel
from edge_app.capture.feed import Feed, FeedPolicy, FeedStatus
from edge_app.capture.mailbox import Mailbox
from edge_app.config import DEFAULT_CAMERA, MetricsConfig
from edge_app.detector import Detector, finish
from edge_app.live.inference_thread import InferenceThread, Pending
from edge_app.live.lead_time import LeadTime
from edge_app.live.stage_times import StageTimes
from edge_app.live.state import LiveState
from edge_app.motion_gate import MotionGate
from edge_app.records import Detections, Frame, FrameResult, ViolationEvent
from edge_app.sinks import NoticeKind, ResultSink, StatusNotice
from edge_app.source import Source

log = logging.getLogger(__name__)

# Pause after a fault of the pipeline, so that a fault in every frame does not spin.
_FAULT_PAUSE_S = 0.5
_STOP_TIMEOUT_S = 2.0
# Of that, what is left for closing the open events in place of a thread that waits for a model that hangs.
_CLOSING_S = 0.5
# Before the end of that a pipeline that hangs is given up, so that this is logged.
_MARGIN_S = 0.05
# One frame in preparation, one in inference, one being interpreted. Where every frame counts and none is late, more:
# the model goes on while one frame takes longer, also where two inferences run side by side.
_IN_FLIGHT, _IN_FLIGHT_LOSSLESS = 3, 10
_MOST_NOTICES = 1000


class FrameProcessor(Protocol):
    """What the runner needs of the pipeline."""

    camera: Optional[CameraModel]

    @property
    def model_name(self) -> str:
        """Name of the detector's model."""

    def process(self, frame: Frame) -> FrameResult:
        """Run every stage on one frame."""

    def finish(self) -> tuple[ViolationEvent, ...]:
        """Close the events that are still open; no more frames come."""


class OverlappedProcessor(FrameProcessor, Protocol):
    """A pipeline whose detector can run ahead, in a thread that cameras share."""

    detector: Detector

    @property
    def has_live_tracks(self) -> bool:
        """Whether somebody is followed, also if not seen in the newest frame."""

    def adapt_to(self, frame: Frame) -> Optional[tuple[bool, str]]:
        """Fit the pipeline to a frame's size; None where nothing changed, else whether the calibration fits."""

    def interpret(self, index: int, time_s: float, detections: Detections) -> FrameResult:
        """Run the stages after the detector."""


@dataclass(frozen=True)
class CameraSource:
    """How to get at a camera's frames.

    Attributes:
        name: for people, without secrets.
        opener: connects; called again after a loss.
        policy: how the connection is watched.
    """

    name: str
    opener: Callable[[], Source]
    policy: FeedPolicy


@dataclass(frozen=True)
class _Captured:
    """A frame on its way: with the pending outputs of its inference, None where the detector does not look at it.

    Attributes:
        geometry: leads from the model's input back to the frame.
    """

    frame: Frame
    captured_s: float
    outputs: Optional[Pending[Any]]
    geometry: Any = None


class LiveRunner:
    """Moves frames of one camera through the pipeline.

    Capture never waits for the pipeline: what it can't take in time is dropped and counted. With an ``InferenceThread``
    preparation, inference and interpretation overlap; without one the pipeline does its own detecting.
    """

    def __init__(
        self,
        source: Union[Source, CameraSource],
        pipeline: Union[FrameProcessor, OverlappedProcessor],
        *,
        camera_name: str = DEFAULT_CAMERA,
        sinks: Sequence[ResultSink] = (),
        inference: Optional[InferenceThread] = None,
        gate: Optional[MotionGate] = None,
    ) -> None:
        """Make a runner.

        Args:
            source: an open source, or how to open one and keep it open.
            pipeline: of this camera alone.
            camera_name: told to the sinks.
            sinks: take every result and every notice.
            inference: shared by all cameras of one accelerator.
            gate: passes over frames in which nothing moves; needs ``inference``.
        """
        if not isinstance(source, CameraSource):
            opened = source
            source = CameraSource(opened.name, lambda: opened, FeedPolicy())
        self.camera_name = camera_name
        self.state = LiveState(source.name, pipeline.model_name, pipeline.camera is not None)
        self.times = StageTimes()
        self.feed = Feed(source.name, source.opener, mailbox := Mailbox(), source.policy, self)
        self.gate = gate
        self._mailbox = mailbox
        self._pipeline: Any = pipeline
        self._sinks = tuple(sinks)
        self._places: deque[MetricsConfig] = deque(maxlen=1)
        self._pipeline_works = True
        self._failing_sinks: set[int] = set()
        self._look_failed = False
        # Held while a frame is in the pipeline and its result told, not while its inference is waited for.
        self._at_work = threading.Lock()
        self._is_over = False
        # Not while a frame is in the pipeline, nor after one that the pipeline failed on.
        self._is_sound = True
        self._inference = inference
        self._lossless = source.policy.lossless
        in_flight = _IN_FLIGHT_LOSSLESS if self._lossless else _IN_FLIGHT
        self._room = threading.Semaphore(in_flight if inference is not None else 1)
        self._inbox: queue.Queue[Union[_Captured, StatusNotice, None]] = queue.Queue()
        self._lead = LeadTime()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._prepare_frames, name=f"prepare {camera_name}", daemon=True),
            threading.Thread(target=self._interpret_frames, name=f"pipeline {camera_name}", daemon=True),
        ]

    @property
    def dropped(self) -> int:
        """Frames that the pipeline could not take in time."""
        return self._mailbox.dropped

    @property
    def passed_over(self) -> int:
        """Frames that the detector did not look at, since nothing moved."""
        return self.gate.passed_over if self.gate is not None else 0

    @property
    def waiting_s(self) -> float:
        """Seconds for which a captured frame has waited for a result, or newer ones since then; 0 where none waits."""
        since_s = self._mailbox.waiting_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()
        self.feed.start()

    def stop(self) -> None:
        """Stop within two seconds, whatever hangs; events that are open are closed and told."""
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        self._stopping.set()
        self._mailbox.close()
        self._inbox.put(None)
        self._room.release()
        interpreter = self._threads[-1]
        if interpreter.is_alive():
            interpreter.join(max(0.0, deadline_s - _CLOSING_S - time.monotonic()))
        closing = threading.Thread(
            target=self._close_events, args=(deadline_s - _MARGIN_S,), name=f"closing {self.camera_name}", daemon=True
        )
        closing.start()
        closing.join(max(0.0, deadline_s - time.monotonic()))
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self.feed.stop(deadline_s)

    def feed_status(self, status: FeedStatus, sentence: str) -> None:
        """Take a change of the source; called by the feed."""
        is_fault = status in ("lost", "failed")
        self.state.report_source(status, sentence if is_fault else None)
        if status in ("live", "ended") or is_fault:
            self._post("source", not is_fault, sentence)

    def report(self, kind: NoticeKind, ok: bool, sentence: str) -> None:
        """Show a condition under which frames go on, or that it is over, and tell the sinks."""
        self.state.report_condition(kind, None if ok else sentence)
        self._post(kind, ok, sentence)

    def use_places(self, metrics: MetricsConfig) -> None:
        """Let all sinks count in this region and over this line from the next frame on; from any thread."""
        self._places.append(metrics)

    def _post(self, kind: NoticeKind, ok: bool, sentence: str) -> None:
        log.log(logging.INFO if ok else logging.WARNING, "%s: %s", self.camera_name, sentence)
        if self._inbox.qsize() < _MOST_NOTICES:
            self._inbox.put(StatusNotice(self.camera_name, kind, ok, sentence, time.time()))

    def _prepare_frames(self) -> None:
        while self._mailbox.wait() and not self._stopping.is_set():
            self._room.acquire()
            if self._inference is None:
                item = self._mailbox.take()
                if item is None:
                    break
                self._inbox.put(_Captured(*item, None))
            elif not self._prepare_in_turn(self._inference):
                break
        self._inbox.put(None)

    def _prepare_in_turn(self, inference: InferenceThread) -> bool:
        with inference.turn() as is_ours:
            if not is_ours:
                return False
            if not self._lossless:
                inference.wait_until_nearly_free(self._lead.seconds)
            item = self._mailbox.take()
            if item is None:
                return False
            frame, captured_s = item
            self._inbox.put(self._infer(inference, frame, captured_s))
            return True

    def _infer(self, inference: InferenceThread, frame: Frame, captured_s: float) -> _Captured:
        """Prepare a frame and hand its inference over, unless nothing moves."""
        since_s = time.perf_counter()
        detector: Detector = self._pipeline.detector
        try:
            if self.gate is not None and not self.gate.must_look(frame, self._pipeline.has_live_tracks):
                return _Captured(frame, captured_s, None)
            tensor, geometry = detector.preprocess(frame.image)
        except Exception as error:
            failed: Pending[Any] = Pending()
            failed.fail(error)
            return _Captured(frame, captured_s, failed)
        self._lead.add(self.times.add("preprocess", since_s))

        def infer() -> Any:
            # Nothing but the model: the accelerator waits for whatever else is done here.
            since_s = time.perf_counter()
            outputs = detector.invoke(tensor)
            self.times.add("inference", since_s)
            return outputs

        return _Captured(frame, captured_s, inference.submit(infer), geometry)

    def _interpret_frames(self) -> None:
        while not self._stopping.is_set():
            item = self._inbox.get()
            if item is None:
                break
            if isinstance(item, _Captured) and item.outputs is not None:
                item.outputs.wait()
            with self._at_work:
                if self._is_over:
                    return
                if isinstance(item, StatusNotice):
                    self._tell(methodcaller("notice", item))
                else:
                    self._take(item)
        self._close_events(None)

    def _take(self, item: _Captured) -> None:
        """Bring a frame through the pipeline and tell its result."""
        if self._places:
            self._tell(methodcaller("use_places", self.camera_name, self._places.pop()))
        try:
            result = self._interpret(item)
        except Exception:
            log.exception("the pipeline failed on frame %d", item.frame.index)
            self.state.report_fault("the pipeline failed on a frame; the picture is withheld, see the log")
            self._report_pipeline(False, "the pipeline fails on frames; see the log")
            self._stopping.wait(_FAULT_PAUSE_S)
            return
        finally:
            self._room.release()
        if self._is_over:
            # It was given up for hanging; those who took results may be gone.
            return
        self._report_pipeline(True, "the pipeline works again")
        now_s = time.monotonic()
        # The wall clock may be set at any time: it only names the moment, durations never come from it.
        utc_s = time.time() - (now_s - item.captured_s)
        self.state.publish(item.frame, result, now_s - item.captured_s, utc_s)
        self._mailbox.done_with(item.captured_s)
        self._tell(methodcaller("accept", self.camera_name, utc_s, result))

    def _close_events(self, deadline_s: Optional[float]) -> None:
        """Close the events that are open after the last frame and tell them, once, whoever comes first.

        Args:
            deadline_s: monotonic; a pipeline that is still at work then is given up. None for its own thread.
        """
        wait_s = -1.0 if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if not self._at_work.acquire(timeout=wait_s):
            log.error("the pipeline of %s hangs; events that were open are not stored", self.camera_name)
            self._is_over = True
            return
        try:
            if self._is_over:
                return
            self._is_over = True
            if not self._is_sound:
                log.error("the pipeline of %s failed on the last frame; open events are not stored", self.camera_name)
                return
            events: tuple[ViolationEvent, ...] = self._pipeline.finish()
            if events:
                self.state.close_events(events)
                self._tell(methodcaller("end", self.camera_name, events))
        except Exception:
            log.exception("events of %s that were open at the end are not known", self.camera_name)
        finally:
            self._at_work.release()

    def _report_pipeline(self, ok: bool, sentence: str) -> None:
        """Tell the sinks when the pipeline begins to fail and when it works again; every frame would be too often."""
        if ok != self._pipeline_works:
            self._pipeline_works = ok
            self._post("pipeline", ok, sentence)

    def _interpret(self, item: _Captured) -> FrameResult:
        frame = item.frame
        if self._inference is None:
            self._is_sound = False
            result: FrameResult = self._pipeline.process(frame)
            self._is_sound = True
            return result
        try:
            detections = self._look(item)
            since_s = time.perf_counter()
            self._is_sound = False
            changed = self._pipeline.adapt_to(frame)
            if changed is not None:
                self.report("calibration", *changed)
            result = self._pipeline.interpret(frame.index, frame.time_s, detections)
            self._is_sound = True
        except Exception:
            # The pipeline may not know whom the detector found, so that it could not hide them in frames like this one.
            self._look_failed = True
            if self.gate is not None:
                self.gate.forget()
            raise
        self._look_failed = False
        self.times.add("interpret", since_s)
        return result

    def _look(self, item: _Captured) -> Detections:
        """Return who was found in a frame.

        Raises:
            Exception: whatever the detector raised, or this frame was passed over for being like the last that was
                looked at and that one came to nothing: nobody knows who is in either.
        """
        if item.outputs is None:
            if self._look_failed:
                raise RuntimeError("the last frame that was looked at came to nothing")
            return Detections.empty(passed_over=True)
        outputs = item.outputs.result()
        since_s = time.perf_counter()
        detections = finish(self._pipeline.detector, outputs, item.geometry, item.frame.image)
        self.times.add("postprocess", since_s)
        return detections

    def _tell(self, call: Callable[[ResultSink], None]) -> None:
        """Call every sink; one that breaks its promise and raises is shown, and does not harm the others."""
        for number, sink in enumerate(self._sinks):
            try:
                call(sink)
            except Exception:
                if number not in self._failing_sinks:
                    self._failing_sinks.add(number)
                    log.exception("%s does not take results", type(sink).__name__)
                    self.state.report_condition(
                        "storage", "results are not stored; see the log, free space on the disk"
                    )
            else:
                if number in self._failing_sinks:
                    self._failing_sinks.discard(number)
                    if not self._failing_sinks:
                        self.state.report_condition("storage", None)

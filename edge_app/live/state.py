"""What is known now about one camera, for any number of readers in other threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from edge_app.current import is_current
from edge_app.records import Frame, FrameResult, ViolationEvent
from edge_app.sinks import NoticeKind

# Events that the dashboard can look back on.
_KEPT_EVENTS = 500
# Frames whose times make the frame rate and the delays that are shown.
_RATE_FRAMES = 30
_DELAY_FRAMES = 300


@dataclass(frozen=True)
class Snapshot:
    """The newest processed frame.

    Attributes:
        sequence: grows by one with every processed frame.
        frame: with its picture, people not hidden: it must not leave the process as it is.
        result: of the pipeline.
        delay_s: from capture to result.
        utc_s: when it was captured, by the wall clock; for people.
    """

    sequence: int
    frame: Frame
    result: FrameResult
    delay_s: float
    utc_s: float


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
        self._delays_s: deque[float] = deque(maxlen=_DELAY_FRAMES)
        self._faults = 0
        self._fault: Optional[str] = None
        self._source_fault: Optional[str] = None
        self._source_status = "connecting"
        self._conditions: dict[NoticeKind, str] = {}
        self._ended = False

    def publish(self, frame: Frame, result: FrameResult, delay_s: float, utc_s: float) -> None:
        """Make a processed frame known; a fault that was shown is over."""
        with self._condition:
            sequence = self._snapshot.sequence + 1 if self._snapshot else 1
            self._snapshot = Snapshot(sequence, frame, result, delay_s, utc_s)
            self._snapshot_s = time.monotonic()
            self._finished_s.append(self._snapshot_s)
            self._delays_s.append(delay_s)
            self._note(result.closed_events)
            self._fault = None
            self._condition.notify_all()

    def close_events(self, events: tuple[ViolationEvent, ...]) -> None:
        """Take the events that were open when the source ended."""
        with self._condition:
            self._note(events)
            self._condition.notify_all()

    def _note(self, events: tuple[ViolationEvent, ...]) -> None:
        self._events.extend(events)
        self._event_count += len(events)

    def report_fault(self, sentence: str) -> None:
        """Show a fault and count it; the picture of before is withheld until frames come again."""
        with self._condition:
            self._faults += 1
            self._fault = sentence
            self._condition.notify_all()

    def report_source(self, status: str, fault: Optional[str]) -> None:
        """Show how the source is; unlike a fault of one frame this stays until the source says otherwise.

        Args:
            status: connecting, live, lost, ended or failed.
            fault: a sentence for people, None where nothing is wrong.
        """
        with self._condition:
            if fault is not None and fault != self._source_fault:
                self._faults += 1
            self._source_status = status
            self._source_fault = fault
            self._ended = status == "ended"
            self._condition.notify_all()

    def report_condition(self, kind: NoticeKind, sentence: Optional[str]) -> None:
        """Show something that is not as it should be while frames go on, or with None that it is over."""
        with self._condition:
            if sentence is None:
                self._conditions.pop(kind, None)
            else:
                self._conditions[kind] = sentence
            self._condition.notify_all()

    def wait_newer(self, sequence: int, timeout_s: float, *, until_trouble: bool = False) -> Optional[Snapshot]:
        """Wait for a snapshot after ``sequence``; None when none came in time or a fault is shown.

        Args:
            sequence: of the last one that is known.
            timeout_s: the longest wait.
            until_trouble: wait no longer once it is known that there is no picture.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: (
                    (self._snapshot is not None and self._snapshot.sequence > sequence)
                    or (until_trouble and self._has_trouble())
                ),
                timeout_s,
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
        """Return what a watcher needs to know.

        ``fault``: why there are no good frames now; ``degraded``: sentences on what is not as it should be although
        frames go on; ``current``: whether the newest picture is one of now; ``source``: connecting, live, lost, ended
        or failed; the rest are figures.
        """
        with self._condition:
            times = list(self._finished_s)
            age_s = time.monotonic() - (self._snapshot_s if self._snapshot else self.started_s)
            fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0
            delay_s = self._snapshot.delay_s if self._snapshot else None
            delays_s = list(self._delays_s)
            return {
                "fps": round(fps, 1) if age_s < 2.0 else 0.0,
                "delay_ms": None if delay_s is None else round(1000 * delay_s, 1),
                "delay_p95_ms": round(1000 * float(np.percentile(delays_s, 95)), 1) if delays_s else None,
                "newest_frame_age_s": round(age_s, 2),
                "faults": self._faults,
                "fault": self._source_fault or self._fault,
                "current": is_current(age_s if self._snapshot else None, is_broken=self._has_trouble()),
                "degraded": list(self._conditions.values()),
                "source": self._source_status,
                "frames": self._snapshot.sequence if self._snapshot else 0,
                "ended": self._ended,
            }

    def _has_trouble(self) -> bool:
        """Tell whether it is known that there is no picture now."""
        return bool(self._source_fault or self._fault or self._ended)

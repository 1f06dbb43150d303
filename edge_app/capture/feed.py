"""Keeps frames of one source coming: watches, opens again, and never waits for what hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Optional, Protocol

from edge_app.capture.backoff import Backoff
from edge_app.capture.freshness import FrozenPicture, picture_digest
from edge_app.capture.mailbox import Mailbox
from edge_app.capture.opencv_stream import SourceLost
from edge_app.errors import UserError
from edge_app.records import Frame
from edge_app.source import Source

log = logging.getLogger(__name__)

FeedStatus = Literal["connecting", "live", "lost", "ended", "failed"]

_WATCH_INTERVAL_S = 0.1
# A connection that held this long was a good one: the next loss is a new one.
_STEADY_S = 10.0
# Readers that hang in native code can't be ended, only left behind; more than this and the driver is broken.
_MOST_ABANDONED = 3


@dataclass(frozen=True)
class FeedPolicy:
    """How a feed treats its source.

    Attributes:
        is_live: open again whatever ends or fails; else the end is the end.
        realtime: give frames of a recording at their own times.
        lossless: wait for the taker instead of dropping.
        max_fps: pass over frames that come faster than this; None for all.
        stall_timeout_s: without a frame for this long the source is opened again.
        frozen_timeout_s: so is one whose picture did not change at all for this long; 0 for never. It is lost until it
            gives another picture than that.
    """

    is_live: bool = False
    realtime: bool = True
    lossless: bool = False
    max_fps: Optional[float] = None
    stall_timeout_s: float = 5.0
    frozen_timeout_s: float = 60.0


class FeedListener(Protocol):
    """Is told how a feed is."""

    def feed_status(self, status: FeedStatus, sentence: str) -> None:
        """Take a change: the new status, and for people what it means."""


class Feed:
    """Moves frames of one source into a mailbox.

    Every connection has a reader thread of its own. A supervisor watches it; when it gives no frames it is left behind
    (native code can't be interrupted), whatever it still delivers is refused, and another connection is made after a
    pause.

    Attributes:
        name: of the source, for people.
        attempts: how often the source was opened.
        reconnects: how often it was lost after it had given frames.
        skipped: frames passed over because of ``max_fps``.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        mailbox: Mailbox,
        policy: FeedPolicy,
        listener: FeedListener,
        backoff: Optional[Backoff] = None,
    ) -> None:
        self.name = name
        self.attempts = 0
        self.reconnects = 0
        self.skipped = 0
        self._opener = opener
        self._mailbox = mailbox
        self._policy = policy
        self._listener = listener
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._started_s = time.monotonic()
        self._frames = 0
        self._next_due_s = 0.0
        # Digest of the picture that froze, until another one comes.
        self._frozen: Optional[int] = None
        self._reader: Optional[_Reader] = None
        self._abandoned: list[_Reader] = []
        self._thread = threading.Thread(target=self._supervise, name=f"feed {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """Stop; returns at the monotonic time ``deadline_s`` at the latest, whatever hangs."""
        self._stopping.set()
        self._mailbox.close()
        reader = self._reader
        if reader is not None:
            reader.abandon()
        for thread in (self._thread, reader):
            if thread is not None and thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def _supervise(self) -> None:
        self._listener.feed_status("connecting", f"connecting to {self.name}")
        while not self._stopping.is_set():
            if not self._has_room():
                self._stopping.wait(self._backoff.next_pause_s())
                continue
            self.attempts += 1
            started_s = time.monotonic()
            reader = self._reader = _Reader(self.name, self._opener, self._deliver, self._policy)
            if self._stopping.is_set():
                return
            reader.start()
            sentence = self._watch(reader)
            reader.abandon()
            if self._stopping.is_set():
                return
            if sentence is None or not self._policy.is_live or reader.user_error:
                self._finish(sentence, bool(reader.user_error))
                return
            self._lose(reader, sentence, time.monotonic() - started_s)

    def _has_room(self) -> bool:
        self._abandoned = [reader for reader in self._abandoned if reader.is_alive()]
        if len(self._abandoned) < _MOST_ABANDONED:
            return True
        self._listener.feed_status(
            "lost", f"the driver of {self.name} hangs and gives nothing back; unplug the camera, or restart the device"
        )
        return False

    def _watch(self, reader: _Reader) -> Optional[str]:
        """Wait until the reader ends or fails; return why, or None at the source's regular end."""
        is_live = is_said = False
        frozen = FrozenPicture(self._policy.frozen_timeout_s) if self._policy.is_live else None
        while not self._stopping.is_set():
            reader.done.wait(_WATCH_INTERVAL_S)
            # Of the first frame it may not be told yet whether it is the frozen one.
            if reader.frames > 1 and self._frozen is not None and not is_said:
                is_said = True
                self._listener.feed_status("lost", f"{self.name} still gives the frozen picture; restart the camera")
            if reader.frames and self._frozen is None and not is_live:
                is_live = True
                self._listener.feed_status("live", f"{self.name} is live")
            if reader.done.is_set():
                return reader.failure
            if not self._policy.is_live:
                continue
            now_s = time.monotonic()
            if is_live and self._backoff.failures and now_s - reader.first_frame_s > _STEADY_S:
                self._backoff.reset()
            # Opening has the same time once more: it contains a connection and a first key frame.
            allowed_s = self._policy.stall_timeout_s * (1.0 if is_live else 2.0)
            if now_s - reader.last_frame_s > allowed_s:
                return f"{self.name} gives no picture for {allowed_s:.0f} seconds; check camera and network"
            latest = reader.latest
            if frozen is not None and latest is not None and frozen.is_frozen(latest, now_s):
                self._frozen = frozen.digest
                seconds = self._policy.frozen_timeout_s
                return f"the picture of {self.name} is frozen for {seconds:.0f} seconds; restart the camera"
        return None

    def _deliver(self, reader: _Reader, frame: Frame) -> bool:
        """Take a frame of a reader; False when it is not wanted any more."""
        if self._stopping.is_set() or reader.abandoned:
            return False
        if self._frozen is not None:
            if picture_digest(frame) == self._frozen:
                # It says nothing of now: whoever is in it must not be counted.
                return True
            self._frozen = None
        policy = self._policy
        if policy.realtime and not policy.is_live:
            if reader.frames == 1:
                reader.clock_s = time.monotonic() - frame.time_s
            if self._stopping.wait(max(0.0, reader.clock_s + frame.time_s - time.monotonic())):
                return False
        if policy.max_fps is not None:
            # Half an interval of tolerance: 30 frames a second capped to 15 give every other one, despite jitter.
            if frame.time_s < self._next_due_s - 0.5 / policy.max_fps and reader.frames > 1:
                self.skipped += 1
                return True
            self._next_due_s = max(self._next_due_s, frame.time_s - 0.5 / policy.max_fps) + 1.0 / policy.max_fps
        time_s = max(0.0, frame.time_s - self._started_s) if policy.is_live else frame.time_s
        renumbered = Frame(frame.image, self._frames, time_s)
        self._frames += 1
        if policy.lossless:
            self._mailbox.put_when_there_is_room(renumbered)
        else:
            self._mailbox.put(renumbered)
        return True

    def _lose(self, reader: _Reader, sentence: str, lasted_s: float) -> None:
        if reader.frames:
            self.reconnects += 1
        if reader.is_alive():
            self._abandoned.append(reader)
        pause_s = self._backoff.next_pause_s()
        log.warning("%s (after %.1f s); next attempt in %.1f s", sentence, lasted_s, pause_s)
        self._listener.feed_status("lost", sentence)
        self._stopping.wait(pause_s)

    def _finish(self, sentence: Optional[str], is_user_error: bool) -> None:
        if sentence is None:
            self._listener.feed_status("ended", f"{self.name} has ended")
        else:
            remedy = "" if is_user_error else "; see the log, then start again"
            self._listener.feed_status("failed", f"{sentence}{remedy}")
        self._mailbox.close()


class _Reader(threading.Thread):
    """One connection: opens the source, reads it and hands every frame over, until it ends or is abandoned."""

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        deliver: Callable[[_Reader, Frame], bool],
        policy: FeedPolicy,
    ) -> None:
        super().__init__(name=f"capture {name}", daemon=True)
        self._source_name = name
        self._opener = opener
        self._deliver = deliver
        self._policy = policy
        self.done = threading.Event()
        self.abandoned = False
        self.failure: Optional[str] = None
        self.user_error = False
        self.frames = 0
        self.latest: Optional[Frame] = None
        self.first_frame_s = self.last_frame_s = time.monotonic()
        self.clock_s = 0.0

    def abandon(self) -> None:
        """Want no more frames; the thread ends as soon as native code lets it."""
        self.abandoned = True

    def run(self) -> None:
        try:
            source = self._opener()
            try:
                self._read(source)
            finally:
                source.close()
        except SourceLost as error:
            self.failure = str(error)
        except UserError as error:
            self.failure, self.user_error = str(error), True
        except Exception as error:
            # OpenCV, drivers and files raise anything; one camera's trouble must not end the process.
            log.exception("the source %s failed", self._source_name)
            self.failure = f"the source {self._source_name} failed ({type(error).__name__})"
        finally:
            self.done.set()

    def _read(self, source: Source) -> None:
        for frame in source:
            self.last_frame_s = time.monotonic()
            if self.frames == 0:
                self.first_frame_s = self.last_frame_s
            self.frames += 1
            self.latest = frame if self._policy.is_live else None
            if not self._deliver(self, frame):
                return

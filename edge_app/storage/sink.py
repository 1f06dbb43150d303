"""Where results and notices enter history."""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional, Union

from edge_app import __version__
from edge_app.config import MetricsConfig
from edge_app.records import FrameResult, ViolationEvent
from edge_app.sinks import StatusNotice
from edge_app.storage.capture_times import CaptureTimes
from edge_app.storage.config import StorageConfig
from edge_app.storage.lock import damaged_sentence, set_aside
from edge_app.storage.minutes import MinuteAggregator
from edge_app.storage.rows import MinuteAggregate, StoredEvent
from edge_app.storage.schema import DamagedHistoryError, history_error
from edge_app.storage.statements import Statement, add_event, add_notice, put_minute, put_run, update_minute
from edge_app.storage.store import LeftBehind, read_left_behind
from edge_app.storage.writer import HistoryWriter

log = logging.getLogger(__name__)

# So often it is written down that the run still watches, also where nothing else is to be stored.
_WATCHED_EVERY_S = 60.0
Along = Callable[[str, Union[StoredEvent, StatusNotice, MinuteAggregate]], list[Statement]]


class StorageSink:
    """Stores violation events, figures of each minute and notices.

    Attributes:
        writer: the thread that commits; others that store something along with history use it too.
        run: random name of this run, the first part of every uid.
        left_behind: what earlier runs left.
    """

    def __init__(
        self,
        config: StorageConfig,
        metrics: Mapping[str, MetricsConfig],
        along: Optional[Along] = None,
        on_notice: Callable[[StatusNotice], None] = lambda notice: None,
        fingerprints: Optional[dict[str, str]] = None,
    ) -> None:
        """Open history for writing; ``start`` begins to write.

        Args:
            config: where and how.
            metrics: region and line of each camera, by its name; a camera that is not there has neither.
            along: says what else is to be stored in the same commit as an event, a notice or a finished minute.
            on_notice: told of notices that storing itself gives.
            fingerprints: what the run works with: of model, calibration and the like.

        Raises:
            UserError: the database cannot be used, or another process writes it.
        """
        self.run = secrets.token_hex(8)
        self._metrics = dict(metrics)
        self._places_lock = threading.Lock()
        self._along = along or (lambda uid, thing: [])
        self._on_notice = on_notice
        self._numbers = itertools.count(1)
        self._cameras: dict[str, MinuteAggregator] = {}
        self._captured: dict[str, CaptureTimes] = {}
        self._begun: dict[str, str] = {}  # camera -> uid of its running minute, once that was handed to the writer
        self._broken: Optional[str] = None
        fingerprints_json = json.dumps(fingerprints or {}, sort_keys=True)
        self._described = (self.run, time.time(), __version__, fingerprints_json)
        self._watched_s: Optional[float] = None
        self.writer, self.left_behind = self._open_writer(config)

    def start(self) -> None:
        """Begin to write."""
        for minute in self.left_behind.minutes:
            self.writer.put(self._finished(minute))
        self.writer.start()
        if self._broken is not None:
            self.writer.tell_damage(self._broken)

    def accept(self, camera: str, utc_s: float, result: FrameResult) -> None:
        """Take the result of one frame."""
        aggregator = self._cameras.get(camera) or self._begin(camera)
        aggregator.add(utc_s, result)
        self._captured.setdefault(camera, CaptureTimes()).add(result.time_s, utc_s)
        self._store(camera, result.closed_events)

    def end(self, camera: str, events: tuple[ViolationEvent, ...]) -> None:
        """Take the events that were open at the end."""
        self._store(camera, events)

    def notice(self, notice: StatusNotice) -> None:
        """Take a notice."""
        uid = self._new_uid()
        self.writer.put([add_notice(uid, notice), *self._along(uid, notice)])

    def use_places(self, camera: str, metrics: MetricsConfig) -> None:
        """Count in this region and over this line from the next frame on."""
        with self._places_lock:
            self._metrics[camera] = metrics
            if camera in self._cameras:
                self._cameras[camera].use(metrics)

    def health(self) -> dict[str, Any]:
        """Return what was lost so far, and why nothing is written now if that is so."""
        minutes_lost = sum(aggregator.lost for aggregator in list(self._cameras.values()))
        return {
            "rows_lost": self.writer.lost + minutes_lost,
            "messages_lost": self.writer.lost_messages,
            "paused": self.writer.paused,
        }

    def close(self) -> None:
        """Store what is there and let go of the database."""
        for aggregator in self._cameras.values():
            aggregator.finish()
        self.writer.stop()

    def _store(self, camera: str, events: tuple[ViolationEvent, ...]) -> None:
        for closed in events:
            event = stored_event(self._new_uid(), camera, self._captured[camera], closed)
            self.writer.put([add_event(event), *self._along(event.uid, event)])

    def _begin(self, camera: str) -> MinuteAggregator:
        with self._places_lock:
            metrics = self._metrics.get(camera, MetricsConfig())
            self._cameras[camera] = MinuteAggregator(camera, metrics, self._new_uid)
            return self._cameras[camera]

    def _open_writer(self, config: StorageConfig) -> tuple[HistoryWriter, LeftBehind]:
        """Open history; one that is damaged is set aside and said, for watching must go on."""
        try:
            return self._open_once(config)
        except DamagedHistoryError as error:
            self._broken = damaged_sentence(error.__cause__, set_aside(config.path, "damaged"))
            return self._open_once(config)

    def _open_once(self, config: StorageConfig) -> tuple[HistoryWriter, LeftBehind]:
        writer = HistoryWriter(config, self._minutes, self._own_notice)
        try:
            return writer, read_left_behind(writer.connection)
        except sqlite3.DatabaseError as error:
            writer.close()
            raise history_error(config.path, error) from error
        except BaseException:
            writer.close()
            raise

    def _minutes(self) -> Iterator[Statement]:
        """Say what is new about the minutes of all cameras; called by the writer."""
        for aggregator in list(self._cameras.values()):
            finished, running = aggregator.take()
            for minute in finished:
                yield from self._finished(minute)
            if running is not None:
                known = self._begun.get(running.camera) == running.uid
                self._begun[running.camera] = running.uid
                yield update_minute(running) if known else put_minute(running, closed=False)
        if self._watched_s is not None and time.monotonic() - self._watched_s >= _WATCHED_EVERY_S:
            yield self._still_watching()

    def _still_watching(self) -> Statement:
        self._watched_s = time.monotonic()
        return put_run(*self._described, watched_utc_s=time.time())

    def _finished(self, minute: MinuteAggregate) -> list[Statement]:
        return [put_minute(minute, closed=True), *self._along(minute.uid, minute)]

    def _own_notice(self, notice: StatusNotice) -> None:
        """Take a notice on storing itself, and hand it on to the others."""
        self.notice(notice)
        self._on_notice(notice)

    def _new_uid(self) -> str:
        number = next(self._numbers)
        if number == 1:
            # With the first thing that it stores: a start that is refused later leaves no run.
            self.writer.put([self._still_watching()])
        return f"{self.run}-{number}"


def stored_event(uid: str, camera: str, captured: CaptureTimes, event: ViolationEvent) -> StoredEvent:
    """Put an event on the clock."""
    return StoredEvent(
        uid,
        camera,
        captured.utc_s(event.start_s),
        captured.utc_s(event.end_s),
        event.duration_s,
        event.id_a,
        event.id_b,
        event.min_distance_m,
        event.mean_distance_m,
        event.same_group,
    )

"""The one thread that writes history: rows are gathered and committed together, which spares the flash."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Optional

from edge_app.errors import UserError
from edge_app.sinks import StatusNotice
from edge_app.storage import retention
from edge_app.storage.config import StorageConfig
from edge_app.storage.lock import damaged_sentence, set_aside, writer_lock
from edge_app.storage.schema import is_damage, open_for_writing
from edge_app.storage.statements import Statement

log = logging.getLogger(__name__)

# A difference between clock and monotonic clock that is a step, not drift, seconds.
_STEP_S = 30.0
# Nothing is deleted for its age until the clock has run on steadily for so long: a wrong clock must not empty history.
STEADY_S = 3600.0
_UPKEEP_S = 30.0
# Pause after the disk refused a commit although there seemed to be room.
_RETRY_S = 5.0
_STOP_S = 10.0
_MEBIBYTE = 1 << 20
_OUTBOX_MOST = 100_000
# So long it is shown that history was begun anew: long enough for an alert.
_DAMAGE_SHOWN_S = 600.0
# Urgent rows that wait beside a queue that is full.
_URGENT_MORE = 1000
# What is wrong with one row, not with the database: it must not hold up the others for ever.
_REFUSED = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError,
    UnicodeEncodeError,
)  # fmt: skip


class HistoryWriter:
    """Takes statements from any thread without waiting, and commits them in batches in one thread of its own.

    A batch is committed as a whole or not at all. What was committed survives the death of the process at any moment,
    and events, notices and finished minutes a power cut as well. While the disk is nearly full, or refuses, rows wait
    in memory up to ``config.queue``; what does not fit is counted in ``lost``. What is urgent is stored on a disk that
    is nearly full too. A database that turns out to be damaged is set aside and begun anew.
    """

    def __init__(
        self,
        config: StorageConfig,
        minutes: Callable[[], Iterable[Statement]] = tuple,
        on_notice: Callable[[StatusNotice], None] = lambda notice: None,
        utc: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the database for this writer alone.

        Args:
            config: where and how.
            minutes: asked at each commit for what is new about the running minutes.
            on_notice: told when storing stops and when it goes on; called in the writer's thread.
            utc, monotonic: clocks.

        Raises:
            UserError: the database cannot be used, or another process writes it.
        """
        self.path = config.path
        self.lost = 0
        self.lost_messages = 0
        self.paused: Optional[str] = None
        self._config = config
        self._minutes = minutes
        self._on_notice = on_notice
        self._utc, self._monotonic = utc, monotonic
        self._lock = threading.Lock()
        self._waiting: deque[Statement] = deque()
        self._told = False
        self._is_nearly_full = False
        self._reported: Optional[sqlite3.Error] = None
        self._damage: Optional[sqlite3.Error] = None
        self._damage_told_s: Optional[float] = None
        self._aside: Optional[Path] = None
        self._above = 0
        self._ticks = 0
        self._retry_s = 0.0
        self._upkeep_s = monotonic() + min(_UPKEEP_S, 1.0)
        self._offset_s = utc() - monotonic()
        self._steady_since_s = monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._resources = ExitStack()
        self._resources.enter_context(writer_lock(self.path))
        try:
            self.connection = open_for_writing(self.path)
        except BaseException:
            self._resources.close()
            raise
        self._resources.callback(self._close_connection)

    @property
    def is_open(self) -> bool:
        """Whether it was not stopped yet."""
        return not self._stopping.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, statements: Iterable[Statement]) -> None:
        """Hand over statements that belong into one commit; never waits, never raises."""
        batch = list(statements)
        room = self._config.queue + (_URGENT_MORE if all(statement.urgent for statement in batch) else 0)
        with self._lock:
            if len(self._waiting) + len(batch) > room:
                self.lost += len(batch)
            else:
                self._waiting.extend(batch)

    def commit_now(self, timeout_s: float = 10.0) -> None:
        """Wait until the thread has committed all that was handed over before.

        Raises:
            TimeoutError: it could not in time, for the disk is full or slow.
        """
        with self._lock:
            tick = self._ticks
        deadline_s = time.monotonic() + timeout_s
        # The tick that goes on now may have begun before; the one after it has seen everything.
        while self._ticks < tick + 2 or self.paused is not None:
            if time.monotonic() > deadline_s:
                raise TimeoutError(self.paused or "history was not written in time")
            time.sleep(0.005)

    def stop(self) -> None:
        """Commit what waits and close the database; a disk that does not answer is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        if self._thread.is_alive():
            log.error("the disk of %s does not answer; what was not stored is lost", self.path.parent)
            return
        self.tick()
        if self._waiting:
            # The first one may have found the database damaged, or the disk full just before there was room.
            self.tick()
        self.close()

    def close(self) -> None:
        """Close the database as it is."""
        self._resources.close()

    def tick(self) -> None:
        """Do once what the thread does again and again: guard the disk, commit, keep house."""
        self._watch_clock()
        self._mend()
        if self._damage is not None:
            self._ticks += 1
            return
        self._guard_disk()
        if self.paused is None:
            self._commit()
        elif self._is_nearly_full:
            self._commit_urgent()
        if self.paused is None and self._monotonic() >= self._upkeep_s:
            self._upkeep_s = self._monotonic() + _UPKEEP_S
            self._keep_house()
        self._ticks += 1

    def _mend(self) -> None:
        """Go on with what a damage has begun."""
        if self._damage is not None:
            if self._monotonic() >= self._retry_s:
                self._open_anew()
        elif self._reported is not None:
            self._begin_anew(self._reported)
        if self._damage_told_s is not None and self._monotonic() - self._damage_told_s >= _DAMAGE_SHOWN_S:
            self._damage_told_s = None
            if not self._told:
                self._tell(True, "history is stored, in the file that was begun anew")

    def _run(self) -> None:
        while not self._stopping.wait(self._config.commit_s):
            try:
                self.tick()
            except Exception:
                log.exception("storing history failed")
                self._pause("storing history failed; see the log")

    def _commit(self) -> None:
        self.put(self._minutes())
        with self._lock:
            batch = list(self._waiting)
        if not batch or not self._try(batch):
            return
        with self._lock:
            for _ in batch:
                self._waiting.popleft()

    def _commit_urgent(self) -> None:
        """Commit what can't wait until there is room again."""
        with self._lock:
            batch = [statement for statement in self._waiting if statement.urgent]
        if not batch or not self._try(batch):
            return
        done = {id(statement) for statement in batch}
        with self._lock:
            self._waiting = deque(statement for statement in self._waiting if id(statement) not in done)

    def _try(self, batch: list[Statement]) -> bool:
        """Commit a batch; where the database refuses, pause or begin it anew, and return False."""
        try:
            self._write(batch)
            return True
        except sqlite3.DatabaseError as error:
            self._roll_back()
            if is_damage(error):
                self._begin_anew(error)
            else:
                self._pause(
                    f"history cannot be written ({error}); free space on the disk of {self.path.parent}, or check it"
                )
            return False

    def report_damage(self, error: sqlite3.Error) -> None:
        """Take what a reader found: the database is damaged, and is begun anew. From any thread."""
        self._reported = error

    def tell_damage(self, sentence: str) -> None:
        """Say that history was begun anew; it is well again after a while, so that alerts can fire meanwhile."""
        log.error("%s", sentence)
        self._damage_told_s = self._monotonic()
        self._tell(False, sentence)

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Set a damaged database aside and make another one: watching, alerts and what is new must go on."""
        self.connection.close()
        self._damage, self._aside = error, None
        self._open_anew()

    def _open_anew(self) -> None:
        """Make another database in place of a damaged one; where that fails, it is tried again."""
        try:
            if self._aside is None:
                self._aside = set_aside(self.path, "damaged")
            self.connection = open_for_writing(self.path)
            # Senders know up to where they have sent, and go on from there.
            self._above = max(int(self._utc() * 1000), self._above + 10**9)
            self.connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (self._above,))
        except (OSError, UserError, sqlite3.Error) as error:
            self._pause(f"history was damaged ({self._damage}) and can't be begun anew: {error}")
            return
        sentence = damaged_sentence(self._damage, self._aside)
        # What readers have found meanwhile is the damage of the former one.
        self._damage = self._reported = None
        self.tell_damage(sentence)

    def _write(self, batch: list[Statement]) -> None:
        """Commit a batch; a row that the database refuses for what it holds is left out, told and counted."""
        durable = any(statement.durable for statement in batch)
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.connection.execute("BEGIN IMMEDIATE")
        refused = 0
        for statement in batch:
            try:
                self.connection.execute(statement.sql, statement.parameters)
            except _REFUSED as error:
                refused += 1
                log.error("a row was not stored (%s): %s %s", error, statement.sql.split("(")[0], statement.parameters)
        self.connection.execute("COMMIT")
        self.lost += refused

    def _keep_house(self) -> None:
        try:
            deleted = 0
            if self._monotonic() - self._steady_since_s >= STEADY_S:
                deleted += retention.delete_older(self.connection, self._utc() - self._config.keep_days * 86400)
            if retention.used_bytes(self.connection) > self._config.max_mb * _MEBIBYTE:
                deleted += retention.delete_oldest(self.connection)
            self.lost_messages += retention.trim_outbox(self.connection, _OUTBOX_MOST)
            if deleted:
                retention.give_back(self.connection)
        except sqlite3.DatabaseError as error:
            self._roll_back()
            if is_damage(error):
                self._begin_anew(error)
            else:
                log.warning("history was not cleaned up (%s); it is tried again", error)

    def _guard_disk(self) -> None:
        free_mb = shutil.disk_usage(self.path.parent).free / _MEBIBYTE
        # A tenth more than the limit, so that it does not go on and off.
        needed_mb = self._config.min_free_mb * (1.1 if self.paused else 1.0)
        self._is_nearly_full = free_mb < needed_mb
        if self._is_nearly_full:
            self._pause(
                f"history is not stored: {free_mb:.0f} MB are free, storage.min_free_mb is {self._config.min_free_mb}; "
                f"free space on the disk of {self.path.parent}"
            )
        elif self.paused is not None and self._monotonic() >= self._retry_s:
            self.paused = None
            self._commit()
            if self.paused is None and self._told:
                self._told = False
                log.info("history is stored again")
                if self._damage_told_s is None:
                    self._tell(True, "history is stored again")

    def _pause(self, sentence: str) -> None:
        """Stop writing; say so once."""
        self._retry_s = self._monotonic() + _RETRY_S
        self.paused = sentence
        if not self._told:
            self._told = True
            log.error("%s", sentence)
            self._tell(False, sentence)

    def _watch_clock(self) -> None:
        offset_s = self._utc() - self._monotonic()
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) > _STEP_S:
            self._steady_since_s = self._monotonic()
            log.warning(
                "the clock was set by %+.0f s; history keeps the times that were valid when it was made", step_s
            )

    def _roll_back(self) -> None:
        # A damaged database may refuse that too; its connection is closed next.
        with suppress(sqlite3.DatabaseError):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _close_connection(self) -> None:
        # It may be another one than at the start.
        self.connection.close()

    def _tell(self, ok: bool, sentence: str) -> None:
        self._on_notice(StatusNotice("", "storage", ok, sentence, self._utc()))

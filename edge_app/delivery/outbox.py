"""Messages that wait until their receiver has them. They lie in the history database and outlive a restart.

A message enters in the same commit as what it tells, so neither is there without the other. It is deleted after the
receiver has confirmed it; should the program die between the two, it is sent again with the same id.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_app.delivery.config import MessageKind
from edge_app.delivery.messages import Message
from edge_app.storage.schema import is_damage, open_for_reading
from edge_app.storage.statements import Statement


@dataclass(frozen=True)
class Waiting:
    """A message in the outbox.

    Attributes:
        seq: order in which messages were put in.
        uid: id of the message.
        topic: where it goes, for receivers that have topics.
        payload: JSON.
        created_utc_s: when it was put in.
    """

    seq: int
    uid: str
    topic: str
    payload: str
    created_utc_s: float


@dataclass(frozen=True)
class Channel:
    """One way out.

    Attributes:
        name: unlike that of any other; stays the same over restarts.
        kinds: what goes this way.
        topic: gives a message's topic.
    """

    name: str
    kinds: frozenset[MessageKind]
    topic: Callable[[Message], str] = lambda message: ""


class Outbox:
    """The outbox as senders see it; may be used by one thread for each channel."""

    def __init__(
        self,
        path: Path,
        put: Callable[[Iterable[Statement]], None],
        damaged: Callable[[sqlite3.Error], None] = lambda error: None,
    ) -> None:
        """Name the database, what takes statements for it, and whom to tell that it is damaged."""
        self._path = path
        self._put = put
        self._damaged = damaged
        self._connections = threading.local()

    def waiting(self, channel: str, after_seq: int, limit: int) -> list[Waiting]:
        """Return the messages of a channel after ``after_seq``, oldest first."""
        rows = self._read(
            "SELECT seq, uid, topic, payload, created_utc_s FROM outbox WHERE channel = ? AND seq > ? ORDER BY seq "
            "LIMIT ?",
            (channel, after_seq, limit),
        )
        return [Waiting(*row) for row in rows]

    def delivered(self, seqs: Iterable[int]) -> None:
        """Delete messages that their receivers have, or that are given up."""
        self._put([Statement("DELETE FROM outbox WHERE seq = ?", (seq,), durable=False, urgent=True) for seq in seqs])

    def newest(self, channel: str) -> int:
        """Return the highest ``seq`` of a channel; 0 where nothing waits."""
        ((newest,),) = self._read("SELECT MAX(seq) FROM outbox WHERE channel = ?", (channel,))
        return int(newest or 0)

    def count(self) -> dict[str, int]:
        """Return how many messages wait in each channel that has any; the database is let go of at once."""
        try:
            return dict(self._read("SELECT channel, COUNT(*) FROM outbox GROUP BY channel", ()))
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the database in the calling thread: its log can't be put away while somebody reads."""
        connection = getattr(self._connections, "connection", None)
        if connection is not None:
            connection.close()
        self._connections.file = None

    def _read(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        try:
            return self._connection().execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._damaged(error)
            raise

    def _connection(self) -> sqlite3.Connection:
        held = self._connections
        # A damaged database is set aside and begun anew under the same name.
        file = self._path.stat().st_ino
        if getattr(held, "file", None) != file:
            self.close()
            held.file, held.connection = file, open_for_reading(self._path)
        connection: sqlite3.Connection = held.connection
        return connection


def put_messages(channels: Iterable[Channel], messages: Iterable[Message]) -> list[Statement]:
    """Return what puts messages into the outbox, once for each channel that carries their kind."""
    carried = list(channels)
    return [
        Statement(
            """INSERT INTO outbox (channel, uid, topic, payload, created_utc_s) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (channel, uid) DO NOTHING""",
            (channel.name, message.uid, channel.topic(message), message.payload, time.time()),
            urgent=message.kind == "alert",
        )
        for message in messages
        for channel in carried
        if message.kind in channel.kinds
    ]

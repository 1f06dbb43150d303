"""Takes the messages of all devices from the broker into the database.

A message is confirmed, to the broker and to its device, only after it has been committed. What comes twice has the
same id and is stored once. So nothing is lost while broker, database or this program are down: devices keep it and
send it again.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Optional

from edge_app.delivery.messages import parse_message
from edge_app.errors import UserError
from edge_app.fleet.database import FleetDatabase, FleetMessage, load_psycopg

log = logging.getLogger(__name__)

_BATCH = 500
_GATHER_S = 0.1
_QUEUE = 10_000
_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_LONGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class IngestOptions:
    """Where to take messages from and where to put them.

    Attributes:
        host, port: of the broker.
        database_url: of PostgreSQL; secret.
        prefix: first level of the topics.
        username, password: at the broker.
        ca_file: certificates to trust; TLS is used when it is given, or with ``tls``.
        tls: encrypt the way to the broker.
        client_id: the same for each start, so that the broker keeps what comes meanwhile.
    """

    host: str
    port: int
    database_url: str
    prefix: str = "edge-social-distancing"
    username: Optional[str] = None
    password: Optional[str] = None
    ca_file: Optional[str] = None
    tls: bool = False
    client_id: str = "edge-fleet-ingest"


@dataclass(frozen=True)
class _Taken:
    """A message as it came."""

    mid: int
    device: str
    payload: bytes


class FleetIngest:
    """Moves messages from the broker to the database until it is stopped.

    Attributes:
        stored, doubled, refused: messages so far; doubled ones had been stored before.
        listening: set while the broker hands over what comes.
    """

    def __init__(self, options: IngestOptions) -> None:
        """Prepare; ``start`` connects.

        Raises:
            UserError: a library is missing, or the certificates cannot be read.
        """
        self.stored = 0
        self.doubled = 0
        self.refused = 0
        self.listening = threading.Event()
        self._options = options
        self._psycopg = load_psycopg()
        self._taken: queue.Queue[_Taken] = queue.Queue(_QUEUE)
        self._statuses: queue.Queue[tuple[str, bool]] = queue.Queue(_QUEUE)
        self._database: Optional[FleetDatabase] = None
        self._stopping = threading.Event()
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._client.connect_async(self._options.host, self._options.port, 30)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """End; what was not committed is not confirmed either, and comes again at the next start."""
        self._stopping.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()
        if self._database is not None:
            self._database.close()

    def _make_client(self) -> Any:
        try:
            from paho.mqtt import client as paho  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(
                "taking messages needs the MQTT library; install it with: pip install 'edge-social-distancing[fleet]'"
            ) from error
        options = self._options
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=options.client_id, clean_session=False, manual_ack=True
        )
        if options.username is not None:
            client.username_pw_set(options.username, options.password)
        if options.tls or options.ca_file:
            try:
                client.tls_set(options.ca_file)
            except OSError as error:
                raise UserError(f"certificates {options.ca_file} cannot be read ({error}); check --ca-file") from error
        client.reconnect_delay_set(1, 5)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = lambda *_: self.listening.set()
        client.on_disconnect = lambda *_: self.listening.clear()
        return client

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection (%s); check name and password", reason)
            return
        kinds = ("event", "minute", "notice", "alert")
        topics = [f"{self._options.prefix}/+/{kind}/+" for kind in kinds]
        client.subscribe([(topic, 1) for topic in (*topics, f"{self._options.prefix}/+/status")])
        log.info("connected to the broker %s", self._options.host)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        device, kind = message.topic.split("/")[1:3]
        if kind == "status":
            if not self._statuses.full():
                self._statuses.put((device, message.payload == b"online"))
            client.ack(message.mid, message.qos)
            return
        try:
            self._taken.put_nowait(_Taken(message.mid, device, bytes(message.payload)))
        except queue.Full:
            # Not confirmed, so its device sends it again.
            log.warning("messages come faster than the database takes them; some come again later")

    def _run(self) -> None:
        pause_s = _RETRY_S
        batch: list[_Taken] = []
        while not self._stopping.is_set():
            try:
                batch = batch or self._gather()
                self._store_statuses()
                self._store(batch)
                batch = []
                pause_s = _RETRY_S
            except (self._psycopg.OperationalError, self._psycopg.InterfaceError) as error:
                log.error("the database is not there (%s); it is tried again", " ".join(str(error).split()))
                self._drop_database()
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)

    def _gather(self) -> list[_Taken]:
        """Wait a moment for messages and return those that came."""
        try:
            batch = [self._taken.get(timeout=_GATHER_S)]
        except queue.Empty:
            return []
        until_s = time.monotonic() + _GATHER_S
        while len(batch) < _BATCH and (left_s := until_s - time.monotonic()) > 0:
            try:
                batch.append(self._taken.get(timeout=left_s))
            except queue.Empty:
                break
        return batch

    def _store(self, batch: list[_Taken]) -> None:
        """Commit a batch, then confirm it."""
        if not batch:
            return
        good: list[FleetMessage] = []
        refused: dict[str, list[str]] = defaultdict(list)
        for taken in batch:
            try:
                good.append(_parse(taken))
            except ValueError as error:
                self._refuse(refused, taken, str(error))
        new, unfit = self._connected().store(good)
        for message in good:
            if message.id in unfit:
                self._refuse_id(refused, message.device, message.id, "its values do not fit into the database")
        good = [message for message in good if message.id not in unfit]
        self.stored += new
        self.doubled += len(good) - new
        self._confirm(batch, good, refused)

    def _confirm(self, batch: list[_Taken], good: list[FleetMessage], refused: dict[str, list[str]]) -> None:
        ids: dict[str, list[str]] = defaultdict(list)
        for message in good:
            ids[message.device].append(message.id)
        for device in ids.keys() | refused.keys():
            said = {"ids": ids[device], "refused": refused[device]}
            self._client.publish(f"{self._options.prefix}/{device}/ack", json.dumps(said), qos=1)
        for taken in batch:
            self._client.ack(taken.mid, 1)

    def _refuse(self, refused: dict[str, list[str]], taken: _Taken, reason: str) -> None:
        uid = _id_of(taken.payload)
        first_line = reason.splitlines()[0] if reason else "unreadable"
        self._refuse_id(refused, taken.device, uid, first_line)

    def _refuse_id(self, refused: dict[str, list[str]], device: str, uid: str, reason: str) -> None:
        self.refused += 1
        log.error("a message of %s is refused (%s)", device, reason)
        if uid:
            refused[device].append(uid)

    def _store_statuses(self) -> None:
        statuses: dict[str, bool] = {}
        while not self._statuses.empty():
            device, online = self._statuses.get()
            statuses[device] = online
        if not statuses:
            return
        try:
            self._connected().set_status(statuses)
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError):
            for status in statuses.items():
                self._statuses.put(status)
            raise

    def _connected(self) -> FleetDatabase:
        if self._database is None:
            self._database = FleetDatabase(self._options.database_url)
        return self._database

    def _drop_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _parse(taken: _Taken) -> FleetMessage:
    """Read a message.

    Raises:
        ValueError: it does not fit the schema, or says that it is from another device than its topic.
    """
    if len(taken.payload) > _LONGEST_BYTES:
        raise ValueError("it is longer than 1 MiB")
    if b"\\u0000" in taken.payload:
        raise ValueError("it holds a zero character, which the database cannot store")
    message = parse_message(taken.payload)
    if message.device != taken.device:
        raise ValueError("its device is not that of its topic")
    return message


def _id_of(payload: bytes) -> str:
    """Return the id of a message that does not fit the schema, empty where it has none."""
    try:
        said = json.loads(payload[:_LONGEST_BYTES])
    except ValueError:
        return ""
    uid = said.get("id") if isinstance(said, dict) else None
    return uid if isinstance(uid, str) else ""

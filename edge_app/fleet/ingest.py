"""Takes the messages of all devices from the broker into the database.

A message is confirmed, to the broker and to its device, only after it has been committed. What comes twice has the
same id and is stored once. So nothing is lost while broker, database or this program are down: devices keep it and
send it again. What can never be stored is set aside in the table ``refused``, counted, logged, and refused to its
device. What can't be stored now waits unconfirmed and is tried again, while other messages go on. Of what its device
repeats meanwhile the broker keeps one copy for this program, so that repeats use up nothing. What is taken and not
stored yet has a limit of bytes; above it nothing is read from the broker (``backlog``).
"""

from __future__ import annotations

import itertools
import json
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from edge_app.delivery.messages import LONGEST_BYTES, LONGEST_DEVICE, LONGEST_ID, parse_message
from edge_app.errors import UserError
from edge_app.fleet.backlog import Backlog, Taken
from edge_app.fleet.database import FleetDatabase, FleetMessage, RefusedMessage, StoreResult, load_psycopg

log = logging.getLogger(__name__)

_BATCH = 500
_BATCH_BYTES = 8 << 20
_GATHER_S = 0.1
_KEEPALIVE_S = 30
_QUEUE = 10_000
# Of what was taken and is not stored: in the queue, in hand, or held.
_MOST_BYTES = 64 << 20
_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_KEPT_BYTES = 1 << 16
# A confirmation has at most so many ids.
_MOST_IDS = 100
# More than these, repeats not counted, wait in the broker and at the devices. The broker's ``max_inflight_messages``
# and ``max_inflight_bytes`` must be higher, or else what waits keeps the others from coming, and at most ``_QUEUE`` and
# ``_MOST_BYTES``, or else reading pauses.
_MOST_HELD = 5000
_MOST_HELD_BYTES = 24 << 20


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


# Device, kind and id: what comes again has the same.
_Key = tuple[str, str, str]


class FleetIngest:
    """Moves messages from the broker to the database until it is stopped.

    Attributes:
        stored, doubled, refused: messages so far; doubled ones had been stored before.
        held: different messages that the database does not take now; they are tried again.
        listening: set while the broker hands over what comes.
        ended: set once nothing is taken any more, after ``stop`` or a failure.
        failure: what ended it; None after ``stop``.
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
        self.ended = threading.Event()
        self.failure: Optional[Exception] = None
        self._options = options
        self._psycopg = load_psycopg()
        self._backlog = Backlog(_QUEUE, _MOST_BYTES)
        self._statuses: queue.Queue[tuple[str, bool]] = queue.Queue(_QUEUE)
        self._statuses_left: dict[str, bool] = {}
        self._connection = 0
        self._held: dict[_Key, Taken] = {}
        self._held_due_s = 0.0
        self._held_pause_s = _RETRY_S
        self._database: Optional[FleetDatabase] = None
        self._stopping = threading.Event()
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    @property
    def held(self) -> int:
        """Return how many messages wait for another try."""
        return len(self._held)

    @property
    def taken_bytes(self) -> int:
        """Return how many bytes of messages are taken and not stored yet."""
        return self._backlog.size

    @property
    def pauses(self) -> int:
        """Return how often nothing was read from the broker, since there was no room."""
        return self._backlog.pauses

    def start(self) -> None:
        """Begin."""
        self._client.connect_async(self._options.host, self._options.port, _KEEPALIVE_S)
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
                "taking messages needs the MQTT library; in this application's folder: pip install -e '.[fleet]'"
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
        self._connection += 1
        kinds = ("event", "minute", "notice", "alert")
        topics = [f"{self._options.prefix}/+/{kind}/+" for kind in kinds]
        client.subscribe([(topic, 1) for topic in (*topics, f"{self._options.prefix}/+/status")])
        log.info("connected to the broker %s", self._options.host)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        device, kind = message.topic.split("/")[1:3]
        if kind == "status":
            if len(device) > LONGEST_DEVICE:
                log.error("the status of %.64s… is left aside; no device has so long a name", device)
            elif not self._statuses.full():
                self._statuses.put((device, message.payload == b"online"))
            client.ack(message.mid, message.qos)
            return
        # What is too long is refused; one byte of the rest says that it is.
        payload = bytes(message.payload[: LONGEST_BYTES + 1])
        # What is taken no more, after the stop, is not confirmed, so the broker hands it over at the next start.
        self._backlog.put(Taken(self._connection, message.mid, device, payload), self._stopping)

    def _run(self) -> None:
        try:
            self._take_until_stopped()
        except Exception as error:
            # Nothing that waits is confirmed, so the broker hands it over again after the next start.
            log.exception("the receiver fails; what is not confirmed comes again after the next start")
            self.failure = error
        finally:
            self.ended.set()

    def _take_until_stopped(self) -> None:
        pause_s = _RETRY_S
        batch: list[Taken] = []
        while not self._stopping.is_set():
            try:
                # At once, not with the first message: whoever starts it sees in the log what is wrong.
                self._connected()
                batch = batch or self._gather()
                self._store_statuses()
                self._store(batch)
                batch = []
                self._backlog.keep_in_hand(self._held_bytes())
                self._store_held()
                self._backlog.keep_in_hand(self._held_bytes())
                pause_s = _RETRY_S
            except self._psycopg.Error as error:
                # Whatever the database says: that a message can never be stored is told apart in ``FleetDatabase``.
                log.error("the database cannot be used (%s); it is tried again", " ".join(str(error).split()))
                self._drop_database()
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)

    def _gather(self) -> list[Taken]:
        """Wait a moment for messages and return those that came."""
        if len(self._held) >= _MOST_HELD or self._held_bytes() >= _MOST_HELD_BYTES:
            self._stopping.wait(_GATHER_S)
            return []
        return self._backlog.gather(_BATCH, _BATCH_BYTES, _GATHER_S)

    def _held_bytes(self) -> int:
        return sum(taken.size for taken in self._held.values())

    def _store(self, batch: list[Taken]) -> None:
        """Commit a batch, then confirm it; what the database does not take now is held."""
        if not batch:
            return
        good: list[tuple[Taken, FleetMessage]] = []
        refused: list[tuple[Taken, RefusedMessage]] = []
        held: list[tuple[Taken, FleetMessage]] = []
        for taken in batch:
            try:
                message = _parse(taken)
            except ValueError as error:
                refused.append((taken, _refused(taken, str(error))))
                continue
            (held if _key(message) in self._held else good).append((taken, message))
        result = self._connected().store(message for _, message in good) if good else StoreResult()
        for place, reason in result.unfit.items():
            taken = good[place][0]
            refused.append((taken, _refused(taken, f"the database cannot store its values ({reason})")))
        if refused:
            self._connected().set_aside(kept for _, kept in refused)
        stored = [pair for place, pair in enumerate(good) if place not in result.unfit and place not in result.held]
        self.stored += result.new
        self.doubled += len(stored) - result.new
        self.refused += len(refused)
        for _, kept in refused:
            log.error("a message of %.100s is refused and set aside (%s)", kept.device, kept.reason)
        # Only now, as a batch comes here again should the database fail, and a number may be settled once only.
        for taken, message in held:
            self._keep_one(_key(message), taken)
        self._hold([good[place] for place in result.held], result)
        self._confirm([*(taken for taken, _ in stored), *(taken for taken, _ in refused)],
                      [message for _, message in stored], [kept for _, kept in refused])  # fmt: skip

    def _store_held(self) -> None:
        """Try again what the database did not take, each time after a longer pause."""
        if not self._held or time.monotonic() < self._held_due_s:
            return
        waiting, self._held = self._held, {}
        waited = len(waiting)
        self._held_pause_s = min(2 * self._held_pause_s, _LONGEST_RETRY_S)
        try:
            while waiting:
                part = _first_of(waiting)
                self._store(list(part.values()))
                # Not before: what fails with the database is settled nowhere and has to be held again.
                waiting = {key: taken for key, taken in waiting.items() if key not in part}
        finally:
            self._held.update(waiting)
        if not self._held:
            self._held_pause_s = _RETRY_S
            log.info("the %d messages that waited are stored", waited)

    def _hold(self, pairs: list[tuple[Taken, FleetMessage]], result: StoreResult) -> None:
        if not pairs:
            return
        if not self._held:
            self._held_due_s = time.monotonic() + self._held_pause_s
        for taken, message in pairs:
            self._keep_one(_key(message), taken)
        log.error(
            "%d messages wait, unconfirmed, since the database does not take them now (%s); the others go on",
            len(self._held),
            next(iter(result.held.values())),
        )
        if result.new == 0:
            # A fresh connection heals what the old one brought about, and brings the schema up to date.
            self._drop_database()

    def _keep_one(self, key: _Key, taken: Taken) -> None:
        """Hold a message; of what came several times one copy stays with the broker, until the message is stored.

        Its device may have nothing left to send again: with ``confirm: broker`` it keeps nothing for this program.
        """
        held = self._held.get(key)
        if held is None or held.connection < taken.connection:
            # After another connection the broker hands over again what it keeps, and knows the old numbers no more.
            self._held[key] = taken
        elif (held.connection, held.mid) != (taken.connection, taken.mid):
            self._settle(taken)

    def _settle(self, taken: Taken) -> None:
        """Tell the broker that a message needs to be handed over no more."""
        # On a later connection the number may be that of another message, which is not stored yet.
        if taken.connection == self._connection:
            self._client.ack(taken.mid, 1)

    def _confirm(self, batch: list[Taken], good: list[FleetMessage], refused: list[RefusedMessage]) -> None:
        ids: dict[str, list[str]] = defaultdict(list)
        refused_ids: dict[str, list[str]] = defaultdict(list)
        for message in good:
            ids[message.device].append(message.id)
        for kept in refused:
            if kept.id:
                refused_ids[kept.device].append(kept.id)
        for device in ids.keys() | refused_ids.keys():
            for said in _confirmations(ids[device], refused_ids[device]):
                self._client.publish(f"{self._options.prefix}/{device}/ack", said, qos=1)
        for taken in batch:
            self._settle(taken)

    def _store_statuses(self) -> None:
        while not self._statuses.empty():
            device, online = self._statuses.get()
            self._statuses_left[device] = online
        if not self._statuses_left:
            return
        for device, reason in self._connected().set_status(self._statuses_left).items():
            log.error("the status of device %.100s cannot be stored (%s)", device, reason)
        self._statuses_left = {}

    def _connected(self) -> FleetDatabase:
        if self._database is None:
            self._database = FleetDatabase(self._options.database_url)
        return self._database

    def _drop_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _first_of(waiting: dict[_Key, Taken]) -> dict[_Key, Taken]:
    """Return what is stored in one go: messages from the beginning, as many and as long as a batch."""
    part: dict[_Key, Taken] = {}
    size = 0
    for key, taken in itertools.islice(waiting.items(), _BATCH):
        size += taken.size
        if part and size > _BATCH_BYTES:
            break
        part[key] = taken
    return part


def _parse(taken: Taken) -> FleetMessage:
    """Read a message.

    Raises:
        ValueError: it does not fit the schema, or says that it is from another device than its topic.
    """
    if len(taken.payload) > LONGEST_BYTES:
        raise ValueError(f"it is longer than {LONGEST_BYTES >> 10} KiB")
    if b"\\u0000" in taken.payload:
        raise ValueError("it holds a zero character, which the database cannot store")
    message = parse_message(taken.payload)
    if message.device != taken.device:
        raise ValueError("its device is not that of its topic")
    return message


def _confirmations(ids: list[str], refused: list[str]) -> Iterator[bytes]:
    """Yield the payloads that tell a device what is settled, each with at most ``_MOST_IDS`` ids, below 64 KiB."""
    pairs = [*((uid, "ids") for uid in ids), *((uid, "refused") for uid in refused)]
    for first in range(0, len(pairs), _MOST_IDS):
        said: dict[str, list[str]] = {"ids": [], "refused": []}
        for uid, outcome in pairs[first : first + _MOST_IDS]:
            said[outcome].append(uid)
        yield json.dumps(said, ensure_ascii=False).encode()


def _key(message: FleetMessage) -> _Key:
    return message.device, message.kind, message.id


def _refused(taken: Taken, reason: str) -> RefusedMessage:
    first_line = reason.splitlines()[0] if reason else "unreadable"
    return RefusedMessage(taken.device, _id_of(taken.payload), first_line, taken.payload[:_KEPT_BYTES])


def _id_of(payload: bytes) -> str:
    """Return the id of a message that does not fit the schema, empty where it has none that a device can have sent."""
    try:
        said = json.loads(payload[:LONGEST_BYTES])
        uid = said.get("id") if isinstance(said, dict) else None
        if not isinstance(uid, str) or len(uid) > LONGEST_ID:
            return ""
        uid.encode()  # half of a surrogate pair, which JSON can say, cannot be sent back
    except (ValueError, RecursionError):
        return ""
    return uid

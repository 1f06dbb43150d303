"""Simulated devices: the real storage, outbox and MQTT of a device, with made-up events, in a few processes."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import secrets
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import Message, event_message, minute_message, topic_of
from edge_app.delivery.mqtt import CHANNEL, MqttPublisher
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.fleet.database import FleetDatabase
from edge_app.storage.config import StorageConfig
from edge_app.storage.rows import MinuteAggregate, StoredEvent
from edge_app.storage.statements import add_event, put_minute
from edge_app.storage.writer import HistoryWriter

_CAMERA = "camera"
# Events for each minute message; a real device has one a minute.
_EVENTS_PER_MINUTE_MESSAGE = 10


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Attributes:
        devices: how many.
        seconds: for which they make events.
        events_per_s: of each device, on average.
        catch_up_s: longest time to wait afterwards until everything is confirmed.
        processes: over which the devices are spread.
        mqtt: broker; each device takes its own name.
        database_url: where the receiver stores; secret.
        repeat_s: a message that was not confirmed for so long is sent again.
    """

    devices: int
    seconds: float
    events_per_s: float
    catch_up_s: float
    processes: int
    mqtt: MqttConfig
    database_url: str
    repeat_s: float = 30.0


class _Device:
    """One simulated device."""

    def __init__(self, name: str, folder: Path, simulation: Simulation) -> None:
        self.ids: list[str] = []
        self._name = name
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        mqtt = simulation.mqtt.model_copy(update={"device": name, "confirm": "receiver"})
        self._channel = Channel(
            CHANNEL, frozenset({"event", "minute"}), lambda m: topic_of(mqtt.prefix, name, m.kind, m.camera)
        )
        self._writer = HistoryWriter(StorageConfig(folder=folder / name, min_free_mb=0))
        self._outbox = Outbox(self._writer.path, self._writer.put)
        self.publisher = MqttPublisher(mqtt, name, self._outbox, dict, simulation.repeat_s)
        self._writer.start()
        self.publisher.start()

    def make(self) -> None:
        """Have an event now, and now and then a minute."""
        now = time.time()
        event = StoredEvent(self._uid(), _CAMERA, now - 3.0, now, 3.0, 1, 2, 0.9, random.uniform(1.0, 1.9), False)
        self._put(add_event(event), event_message(self._name, event))
        if len(self.ids) % _EVENTS_PER_MINUTE_MESSAGE == 0:
            heat = {(x, y): 2.0 for x in range(5) for y in range(5)}
            minute = MinuteAggregate(
                self._uid(), _CAMERA, int(now // 60) * 60, 60.0, 5, 2, 1, 100.0, 8.0, 4.0, 4, None, None, None, heat
            )
            self._put(put_minute(minute, closed=True), minute_message(self._name, minute))

    def done(self) -> bool:
        """Return whether everything was confirmed."""
        return self.publisher.confirmed >= len(self.ids)

    def close(self) -> None:
        """Stop."""
        self.publisher.stop()
        self._writer.stop()

    def _uid(self) -> str:
        self.ids.append(f"{self._run}-{next(self._numbers)}")
        return self.ids[-1]

    def _put(self, statement: Any, message: Message) -> None:
        self._writer.put([statement, *put_messages([self._channel], [message])])


def simulate(simulation: Simulation) -> dict[str, Any]:
    """Run the devices against a broker and a receiver that run already.

    Returns:
        Figures as JSON values; ``lost`` counts messages that were made and are not in the database.
    """
    context = multiprocessing.get_context("spawn")
    name = f"sim-{secrets.token_hex(3)}"
    workers = []
    with tempfile.TemporaryDirectory(prefix="edge-fleet-") as folder:
        for number in range(simulation.processes):
            here, there = context.Pipe(duplex=False)
            devices = range(number, simulation.devices, simulation.processes)
            process = context.Process(
                target=_run_devices, args=(simulation, [f"{name}-{i}" for i in devices], Path(folder), there)
            )
            process.start()
            there.close()
            workers.append((process, here))
        made: set[str] = set()
        repeated = 0
        for process, here in workers:
            ids, again = here.recv()
            made.update(ids)
            repeated += again
            process.join()
    return {**_compare(simulation, name, made), "repeated": repeated}


def _run_devices(simulation: Simulation, names: list[str], folder: Path, results: Connection) -> None:
    """Let some of the devices live; runs in a process of its own."""
    devices = [_Device(name, folder, simulation) for name in names]
    pace_s = 1.0 / simulation.events_per_s / max(1, len(devices))
    started_s = time.monotonic()
    made = 0
    while (now_s := time.monotonic()) < started_s + simulation.seconds:
        due = int((now_s - started_s) / pace_s)
        for _ in range(due - made):
            random.choice(devices).make()
        made = max(made, due)
        time.sleep(0.01)
    deadline_s = time.monotonic() + simulation.catch_up_s
    while not all(device.done() for device in devices) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    for device in devices:
        device.close()
    results.send(([uid for device in devices for uid in device.ids], sum(d.publisher.repeated for d in devices)))
    results.close()


def _compare(simulation: Simulation, name: str, made: set[str]) -> dict[str, Any]:
    database = FleetDatabase(simulation.database_url)
    try:
        pattern = f"{name}-%"
        there = {
            row[0]
            for kind in ("event", "minute")
            for row in database.query(f"SELECT id FROM {kind} WHERE device LIKE %s", [pattern])
        }
        ((first, last, median_s, p95_s, longest_s),) = database.query(
            """SELECT extract(epoch FROM min(received_utc)), extract(epoch FROM max(received_utc)),
            percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM received_utc - end_utc)),
            percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM received_utc - end_utc)),
            extract(epoch FROM max(received_utc - end_utc)) FROM event WHERE device LIKE %s""",
            [pattern],
        )
    finally:
        database.close()
    took_s = float(last - first) if there else 0.0
    return {
        "devices": simulation.devices,
        "messages_made": len(made),
        "messages_stored": len(there & made),
        "lost": len(made - there),
        "not_made_but_stored": len(there - made),
        "messages_per_s": round(len(there) / took_s, 1) if took_s > 0 else None,
        "delay_s": {
            name: None if value is None else round(float(value), 3)
            for name, value in (("median", median_s), ("p95", p95_s), ("longest", longest_s))
        },
    }

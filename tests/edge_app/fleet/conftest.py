from __future__ import annotations

import json

import pytest
from paho.mqtt import client as paho

from edge_app.fleet.database import FleetDatabase, StoreResult
from edge_app.fleet.ingest import FleetIngest, IngestOptions
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.fleet.postgres import Postgres


@pytest.fixture(scope="module")
def postgres():
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: fleet)")
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def broker(tmp_path):
    running = Broker(tmp_path / "broker", "allow_anonymous true", "max_inflight_messages 1000")
    running.start()
    yield running
    running.kill()


@pytest.fixture
def ingest(broker, postgres):
    made = []

    def start():
        made.append(FleetIngest(IngestOptions("127.0.0.1", broker.port, postgres.url, prefix="edge")))
        made[-1].start()
        assert made[-1].listening.wait(10.0)
        return made[-1]

    yield start
    for receiver in made:
        receiver.stop()


@pytest.fixture
def device(broker):
    """Publishes as a device does, and keeps what is confirmed to it."""

    class Device:
        def __init__(self):
            self.acks = []
            self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
            self._client.on_message = lambda client, data, message: self.acks.append(json.loads(message.payload))
            self._client.connect("127.0.0.1", broker.port)
            self._client.subscribe("edge/dev/ack", 1)
            self._client.loop_start()

        def send(self, payload, kind="event"):
            self._client.publish(f"edge/dev/{kind}/door", payload, qos=1).wait_for_publish(5.0)

        def publish(self, topic, payload):
            self._client.publish(topic, payload, qos=1).wait_for_publish(5.0)

        def say(self, status):
            self._client.publish("edge/dev/status", status, qos=1, retain=True).wait_for_publish(5.0)

        def confirmed(self, key="ids"):
            return [uid for ack in self.acks for uid in ack[key]]

        def close(self):
            self._client.disconnect()
            self._client.loop_stop()

    made = Device()
    yield made
    made.close()


@pytest.fixture
def rows(postgres):
    """Ask the database; it is emptied afterwards, by a new connection, since a test may have let it crash."""

    def ask(sql):
        database = FleetDatabase(postgres.url)
        try:
            return database.query(sql)
        finally:
            database.close()

    yield ask
    database = FleetDatabase(postgres.url)
    database._connection.execute("TRUNCATE event, minute, notice, alert, device, refused")
    database.close()


@pytest.fixture
def change_schema(postgres, rows):
    """Run a statement; the second one undoes it after the test, unless it was run meanwhile."""
    psycopg = pytest.importorskip("psycopg")
    FleetDatabase(postgres.url).close()
    undo = []

    def change(sql, back=None):
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(sql)
        if sql in undo:
            undo.remove(sql)
        elif back is not None:
            undo.append(back)

    yield change
    for sql in list(undo):
        change(sql)


class Client:
    """Keeps the numbers that are acknowledged to the broker."""

    def __init__(self):
        self.acked = []

    def ack(self, mid, qos):
        self.acked.append(mid)

    def publish(self, *_, **__):
        pass


class Database:
    """Takes what it is told to take."""

    def __init__(self):
        self.takes = False
        self.fails = False
        self.takes_before_it_fails = None

    def store(self, messages):
        if self.takes_before_it_fails is not None:
            self.takes_before_it_fails -= 1
        if self.fails or (self.takes_before_it_fails or 0) < 0:
            raise pytest.importorskip("psycopg").OperationalError("gone")
        places = range(len(list(messages)))
        return StoreResult(len(places)) if self.takes else StoreResult(held=dict.fromkeys(places, "no right"))

    def close(self):
        pass


@pytest.fixture
def receiver(monkeypatch):
    """A receiver of which each step is done by the test."""
    pytest.importorskip("psycopg")
    database = Database()
    monkeypatch.setattr("edge_app.fleet.ingest.FleetDatabase", lambda _: database)
    made = FleetIngest(IngestOptions("127.0.0.1", 1883, "unused"))
    made._client, made.database, made._connection = Client(), database, 1
    return made

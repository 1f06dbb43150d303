from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from paho.mqtt import client as paho

from edge_app.cli import cli
from edge_app.delivery.messages import event_message, message_schema, minute_message
from edge_app.errors import UserError
from edge_app.fleet.database import FleetDatabase
from edge_app.fleet.ingest import FleetIngest, IngestOptions
from tests.edge_app.fleet.outage import Site
from tests.edge_app.storage.made import event, minute
from tests.edge_app.test_live import wait_until


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
    database._connection.execute("TRUNCATE event, minute, notice, alert, device")
    database.close()


def test_a_message_is_stored_once_and_confirmed_each_time_it_comes(ingest, device, rows):
    receiver = ingest()
    for _ in range(3):
        device.send(event_message("dev", event(1)).payload)
    device.send(minute_message("dev", minute(1)).payload, "minute")
    wait_until(lambda: len(device.confirmed()) == 4)
    assert rows("SELECT id, min_distance_m, start_utc::text FROM event") == [
        ("run-1", 0.8, rows("SELECT to_timestamp(1767268800)::text")[0][0])
    ]
    assert rows("SELECT heat->1->>2 FROM minute") == [("30.0",)]
    assert (receiver.stored, receiver.doubled, receiver.refused) == (2, 2, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"device": "another"},
        {"camera": "zero\x00"},
        {"id_a": 2**70},
        {"start_utc_s": 1e300},
        {"min_distance_m": None},
        {"unknown": 1},
    ],
)
def test_a_message_that_does_not_fit_is_refused_and_the_others_are_stored(change, ingest, device, rows):
    receiver = ingest()
    good = json.loads(event_message("dev", event(1)).payload)
    device.send(json.dumps({**good, "id": "bad", **change}))
    device.send(b"\xff no json")
    device.send(json.dumps(good))
    wait_until(lambda: device.confirmed() == ["run-1"])
    wait_until(lambda: device.confirmed("refused") == ["bad"])
    assert receiver.refused == 2
    assert rows("SELECT id FROM event") == [("run-1",)]


def test_the_will_of_a_device_is_stored(ingest, device, rows):
    ingest()
    for status, online in (("online", True), ("offline", False)):
        device.say(status)
        wait_until(lambda online=online: rows("SELECT online FROM device WHERE name = 'dev'") == [(online,)])


def test_what_comes_while_the_receiver_is_stopped_is_stored_when_it_is_back(ingest, device, rows):
    ingest().stop()
    device.send(event_message("dev", event(7)).payload)
    ingest()
    wait_until(lambda: rows("SELECT id FROM event") == [("run-7",)])


def test_devices_lose_nothing_while_broker_database_and_receiver_fail_in_turn(broker, postgres, rows):
    site = Site(broker, postgres)
    failing = threading.Thread(target=site.fail_in_turn, args=(0.5, 0.5))
    failing.start()
    figures = site.simulate(devices=10, seconds=3.5, events_per_s=8.0, repeat_s=1.0)
    failing.join()
    site.stop()
    assert figures["messages_made"] > 200
    assert (figures["lost"], figures["not_made_but_stored"]) == (0, 0)
    assert figures["delay_s"]["longest"] >= 0.5


def test_a_report_tells_each_device_and_the_command_does_too(ingest, device, rows, postgres, monkeypatch):
    ingest()
    device.say("online")
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: device.confirmed() == ["run-1"])
    wait_until(lambda: rows("SELECT online FROM device") == [(True,)])
    monkeypatch.setenv("W_DATABASE", postgres.url)
    done = CliRunner().invoke(cli, ["fleet", "report", "--database", "env:W_DATABASE", "--json"])
    (row,) = json.loads(done.output)
    assert (row["device"], row["online"], row["messages"]) == ("dev", True, 1)
    table = CliRunner().invoke(cli, ["fleet", "report", "--database", "env:W_DATABASE"]).output
    assert "1 devices, 1 online; 1 messages" in table


def test_the_receiver_is_a_command_that_ends_in_order_and_shows_no_secret(broker, postgres, device, rows):
    command = [sys.executable, "-m", "edge_app", "fleet", "ingest", "--port", str(broker.port), "--prefix", "edge",
               "--database", "env:W_DATABASE"]  # fmt: skip
    secret = postgres.url.replace("edge@", "edge:hunter2@")
    running = subprocess.Popen(
        command, env={**os.environ, "W_DATABASE": secret}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        # Until it listens nobody keeps what is sent, so it is sent again and again, as a device does.
        wait_until(lambda: device.send(event_message("dev", event(1)).payload) or device.acks, 60.0)
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert "1 messages stored" in out
    assert "hunter2" not in out + err
    assert rows("SELECT id FROM event") == [("run-1",)]


def test_a_database_address_on_the_command_line_is_refused_without_repeating_it():
    done = CliRunner().invoke(cli, ["fleet", "report", "--database", "postgresql://edge:hunter2@db/x"])
    assert isinstance(done.exception, UserError)
    assert "hunter2" not in str(done.exception)


def test_the_schema_that_is_shipped_is_the_one_that_is_checked(pytestconfig):
    shipped = json.loads((pytestconfig.rootpath / "deploy" / "fleet" / "messages.schema.json").read_text())
    assert shipped == message_schema()

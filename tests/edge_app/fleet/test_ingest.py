from __future__ import annotations

import json
import os
import random
import signal
import string
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from edge_app.cli import cli
from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import (
    LONGEST_BYTES,
    event_message,
    message_schema,
    minute_message,
    minute_messages,
    parse_message,
    topic_of,
)
from edge_app.delivery.mqtt import MqttPublisher
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.errors import UserError
from edge_app.fleet import ingest as ingest_module
from edge_app.fleet.backlog import Taken
from edge_app.fleet.database import MIGRATIONS, FleetDatabase, RefusedMessage
from edge_app.storage import StorageConfig
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.fleet.outage import Site
from tests.edge_app.storage.made import WITHOUT_METRES, event, minute
from tests.edge_app.test_live import wait_until


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


@pytest.mark.parametrize("how", ["null", "left out"])
def test_a_minute_without_metres_has_no_figures_there_and_an_older_device_s_minute_has_them(how, ingest, device, rows):
    receiver = ingest()
    without = json.loads(minute_message("dev", minute(1, **WITHOUT_METRES, heat={})).payload)
    assert without["exposed_person_s"] is None
    if how == "left out":
        without = {name: value for name, value in without.items() if name not in WITHOUT_METRES}
    device.send(json.dumps(without), "minute")
    # An older device has always sent all of them.
    device.send(minute_message("dev", minute(2)).payload, "minute")
    wait_until(lambda: len(device.confirmed()) == 2)
    figures = ", ".join(WITHOUT_METRES)
    assert rows(f"SELECT {figures} FROM minute ORDER BY id") == [(None,) * 6, (2, 1, 90.0, 20.0, 10.0, 3)]
    assert rows("SELECT people FROM minute ORDER BY id") == [(3,), (3,)]
    assert receiver.refused == 0


def test_a_minute_that_comes_in_several_messages_adds_up_to_itself(ingest, device, rows):
    ingest()
    whole = minute(1, heat={(x, y): 1.5 for x in range(130) for y in range(130)})
    messages = list(minute_messages("dev", whole))
    for message in (*messages, *messages):
        device.send(message.payload, "minute")
    wait_until(lambda: len(device.confirmed()) == 2 * len(messages) == 6)
    sums = "sum(watched_s), sum(people), sum(exposed_person_s), sum(jsonb_array_length(heat))"
    watched, minutes = "sum(watched_s) FILTER (WHERE exposed_person_s IS NOT NULL)", "count(DISTINCT minute_utc)"
    assert rows(f"SELECT {sums}, {watched}, {minutes} FROM minute") == [(60.0, 3, 20.0, 16_900, 60.0, 1)]


def test_an_older_fleet_database_keeps_its_minutes_and_takes_those_without_metres(postgres):
    psycopg = pytest.importorskip("psycopg")
    url = postgres.url.replace("/postgres", "/older")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE older")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
        for number in (1, 2):
            connection.execute(MIGRATIONS[number - 1])
            connection.execute("INSERT INTO schema_version VALUES (%s)", (number,))
        connection.execute(
            """INSERT INTO minute VALUES ('old', 'dev', 'door', now(), 60, 3, 0, 0, 90, 0, 0, 3, NULL, NULL, NULL, 0.5,
            '[]', now())"""
        )
    for _ in range(2):
        database = FleetDatabase(url)
        database.store([parse_message(minute_message("dev", minute(1, **WITHOUT_METRES)).payload.encode())])
        assert database.query("SELECT id, violating_people, exposed_person_s FROM minute ORDER BY id") == [
            ("old", 0, 0.0), ("run-m1", None, None),
        ]  # fmt: skip
        assert database.query("SELECT count(*) FROM pg_indexes WHERE tablename = 'minute'") == [(3,)]
        assert database.query("SELECT max(version) FROM schema_version") == [(len(MIGRATIONS),)]
        database.close()


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


def test_what_is_refused_is_set_aside_with_its_reason(ingest, device, rows):
    ingest()
    device.send(b'{"id": "zero\\u0000", "version": 9}')
    wait_until(lambda: device.confirmed("refused"))
    (kept,) = rows("SELECT device, id, reason, payload FROM refused")
    assert kept == ("dev", "zero", "it holds a zero character, which the database cannot store",
                    b'{"id": "zero\\u0000", "version": 9}')  # fmt: skip


def test_a_batch_is_confirmed_by_several_messages_and_each_has_at_most_100_ids(ingest, device, rows):
    first = ingest()
    first.stop()
    for number in range(250):
        device.send(json.dumps({"id": f"bad-{number}"}) if number % 2 else event_message("dev", event(number)).payload)
    ingest()
    wait_until(lambda: len(device.confirmed()) == len(device.confirmed("refused")) == 125)
    assert {(uid,) for uid in device.confirmed()} == set(rows("SELECT id FROM event"))
    assert len(device.acks) >= 3
    assert max(len(ack["ids"]) + len(ack["refused"]) for ack in device.acks) <= 100


def test_a_device_takes_all_confirmations_of_a_batch(broker, ingest, tmp_path, rows, monkeypatch):
    monkeypatch.setattr("edge_app.fleet.ingest._MOST_IDS", 7)
    writer = HistoryWriter(StorageConfig(folder=tmp_path / "state", min_free_mb=0, commit_s=0.02))
    writer.start()
    channel = Channel("mqtt", frozenset({"event"}), lambda m: topic_of("edge", "dev", m.kind, m.camera))
    writer.put(put_messages([channel], [event_message("dev", event(number)) for number in range(150)]))
    config = MqttConfig(host="127.0.0.1", port=broker.port, prefix="edge", device="dev", confirm="receiver")
    receiver = ingest()
    outbox = Outbox(writer.path, writer.put)
    publisher = MqttPublisher(config, "dev", outbox, dict)
    publisher.start()
    try:
        wait_until(lambda: publisher.confirmed == 150 and outbox.waiting("mqtt", 0, 10) == [])
    finally:
        publisher.stop()
        writer.stop()
    assert (receiver.stored, publisher.repeated) == (150, 0)
    assert rows("SELECT count(*) FROM event") == [(150,)]


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\x01", '"'])
def test_the_longest_confirmation_is_below_64_kib_whatever_the_ids_are(letter):
    payloads = list(ingest_module._confirmations([letter * 100] * 150, [letter * 100] * 150))
    assert len(payloads) == 3
    assert max(len(payload) for payload in payloads) < 1 << 16
    assert [len(json.loads(payload)["ids"]) for payload in payloads] == [100, 50, 0]
    assert b"\\u" not in payloads[0] or letter == "\x01"


@pytest.mark.parametrize("uid", ["x" * 101, "\ud800", 7, None])
def test_an_id_that_no_device_can_have_made_is_not_sent_back(uid, ingest, device, rows):
    receiver = ingest()
    device.send(json.dumps({"id": uid, "version": 9}))
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: device.confirmed() == ["run-1"])
    assert receiver.refused == 1 and device.confirmed("refused") == []
    assert rows("SELECT id FROM refused") == [("",)]


def test_only_the_latest_refused_messages_are_kept(postgres, rows, monkeypatch):
    monkeypatch.setattr("edge_app.fleet.database._MOST_REFUSED", 3)
    database = FleetDatabase(postgres.url)
    database.set_aside(RefusedMessage("dev", str(number), "no", b"") for number in range(5))
    database.close()
    assert rows("SELECT id FROM refused ORDER BY number") == [("2",), ("3",), ("4",)]


def test_a_message_nested_too_deep_to_read_does_not_end_the_receiver(ingest, device, rows):
    receiver = ingest()
    device.send(b"[" * 200_000)
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: device.confirmed() == ["run-1"])
    assert receiver.refused == 1 and not receiver.ended.is_set()


def test_a_row_that_breaks_a_constraint_is_refused_and_the_others_are_stored(ingest, device, rows, change_schema):
    receiver = ingest()
    change_schema("ALTER TABLE event ADD CONSTRAINT odd CHECK (id <> 'run-1')", "ALTER TABLE event DROP CONSTRAINT odd")
    for number in (1, 2):
        device.send(event_message("dev", event(number)).payload)
    wait_until(lambda: device.confirmed() == ["run-2"])
    wait_until(lambda: device.confirmed("refused") == ["run-1"])
    assert receiver.refused == 1
    assert "odd" in rows("SELECT reason FROM refused")[0][0]


def test_what_the_database_does_not_take_now_waits_while_the_others_go_on(ingest, device, rows, change_schema):
    receiver = ingest()
    back = "ALTER TABLE away RENAME TO event"
    change_schema("ALTER TABLE event RENAME TO away", back)
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: receiver.held == 1)
    device.send(minute_message("dev", minute(1)).payload, "minute")
    wait_until(lambda: len(device.confirmed()) == 1)
    assert rows("SELECT count(*) FROM minute") == [(1,)]
    assert (receiver.held, receiver.refused) == (1, 0)
    change_schema(back)
    wait_until(lambda: rows("SELECT id FROM event") == [("run-1",)])
    wait_until(lambda: "run-1" in device.confirmed())
    assert receiver.held == 0


def test_repeats_of_what_waits_keep_no_other_message_from_coming_and_nothing_is_lost(
    ingest, device, rows, change_schema, monkeypatch
):
    monkeypatch.setattr("edge_app.fleet.ingest._MOST_HELD", 150)
    receiver = ingest()
    back = "ALTER TABLE away RENAME TO event"
    change_schema("ALTER TABLE event RENAME TO away", back)
    # More than the 1000 that the broker has on their way at once.
    for _ in range(11):
        for number in range(100):
            device.send(event_message("dev", event(number)).payload)
    device.send(minute_message("dev", minute(1)).payload, "minute")
    wait_until(lambda: device.confirmed() == ["run-m1"])
    assert receiver.held == 100
    receiver.stop()
    change_schema(back)
    # The device sends none of them again: the broker has kept them.
    again = ingest()
    wait_until(lambda: rows("SELECT count(*) FROM event") == [(100,)])
    assert again.doubled == 0


def came(receiver, *mids, connection=1):
    payload = event_message("dev", event(1)).payload.encode()
    receiver._store([Taken(connection, mid, "dev", payload) for mid in mids])


def test_a_number_of_an_earlier_connection_is_not_acknowledged_since_it_may_mean_another_message(receiver):
    receiver.database.takes = True
    receiver._connection = 2
    came(receiver, 7, connection=1)
    assert receiver.stored == 1 and receiver._client.acked == []
    came(receiver, 8, connection=2)
    assert receiver._client.acked == [8]


def test_one_copy_of_what_waits_stays_with_the_broker(receiver):
    came(receiver, 1, 2)
    came(receiver, 3)
    assert receiver.held == 1 and receiver._client.acked == [2, 3]
    # After another connection the broker hands over the first one again, under a number that was used before.
    receiver._connection = 2
    came(receiver, 2, connection=2)
    assert receiver._client.acked == [2, 3]
    came(receiver, 4, connection=2)
    assert receiver.held == 1 and receiver._client.acked == [2, 3, 4]
    receiver.database.takes, receiver._held_due_s = True, 0.0
    receiver._store_held()
    assert receiver.held == 0 and receiver._client.acked == [2, 3, 4, 2]


def test_a_repeat_is_acknowledged_once_though_its_batch_fails_with_the_database(receiver):
    came(receiver, 1)
    other = Taken(1, 3, "dev", event_message("dev", event(2)).payload.encode())
    batch = [Taken(1, 2, "dev", event_message("dev", event(1)).payload.encode()), other]
    receiver.database.fails = True
    with pytest.raises(pytest.importorskip("psycopg").OperationalError):
        receiver._store(batch)
    assert receiver._client.acked == []
    receiver.database.fails = False
    receiver._store(batch)
    assert receiver._client.acked == [2] and receiver.held == 2


def test_a_status_of_a_name_that_no_device_can_have_holds_up_nothing(broker, ingest, device, rows):
    ingest()
    name = "x" * 20_000
    device.publish(f"edge/{name}/status", b"online")
    device.say("online")
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: device.confirmed() == ["run-1"])
    wait_until(lambda: rows("SELECT online FROM device") == [(True,)])


def test_the_database_stores_the_other_statuses_where_a_name_fits_into_no_index(postgres, rows):
    database = FleetDatabase(postgres.url)
    # What compresses would fit into the index.
    name = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))
    assert list(database.set_status({name: True, "dev": True})) == [name]
    database.close()
    assert rows("SELECT name FROM device") == [("dev",)]


def test_a_failure_of_the_receiver_ends_the_command_with_its_reason(broker, postgres, rows, change_schema, monkeypatch):
    monkeypatch.setenv("W_DATABASE", postgres.url)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    change_schema("INSERT INTO schema_version VALUES (99)", "DELETE FROM schema_version WHERE version = 99")
    done = CliRunner().invoke(
        cli, ["fleet", "ingest", "--port", str(broker.port), "--prefix", "edge", "--database", "env:W_DATABASE"]
    )
    assert "install the newer version" in str(done.exception)


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


def test_the_shipped_broker_has_more_on_their_way_than_the_receiver_holds(pytestconfig):
    text = (pytestconfig.rootpath / "deploy" / "fleet" / "mosquitto" / "mosquitto.conf").read_text()
    (inflight,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("max_inflight_messages")]
    assert ingest_module._MOST_HELD + ingest_module._BATCH < inflight <= ingest_module._QUEUE
    (inflight_bytes,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("max_inflight_bytes")]
    most_held_bytes = ingest_module._MOST_HELD_BYTES + ingest_module._BATCH_BYTES
    # The broker may exceed its limit by one message, and counts no names of devices, of which each has 64 letters.
    exceeded = LONGEST_BYTES + 64 * inflight
    assert most_held_bytes + LONGEST_BYTES < inflight_bytes <= ingest_module._MOST_BYTES - exceeded
    # Reading goes on at half of the limit, also while messages are held.
    assert most_held_bytes <= ingest_module._MOST_BYTES / 2


def test_the_shipped_broker_takes_the_longest_message_under_the_longest_topic(pytestconfig):
    text = (pytestconfig.rootpath / "deploy" / "fleet" / "mosquitto" / "mosquitto.conf").read_text()
    (most,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("max_packet_size")]
    topic = topic_of("p" * 64, "d" * 64, "minute", "\U0001f600" * 64)
    header = 1 + 4 + 2 + 2  # type, remaining length, length of the topic, number of the message
    assert LONGEST_BYTES + header + len(topic.encode()) <= most < LONGEST_BYTES + 2048


def test_a_message_that_is_too_long_is_refused_and_its_beginning_set_aside(ingest, device, rows):
    receiver = ingest()
    whole = json.loads(minute_message("dev", minute(1)).payload)
    device.send(json.dumps({**whole, "camera": "x" * LONGEST_BYTES}), "minute")
    device.send(event_message("dev", event(1)).payload)
    wait_until(lambda: device.confirmed() == ["run-1"])
    assert receiver.refused == 1
    assert rows("SELECT reason, length(payload) FROM refused") == [("it is longer than 256 KiB", 1 << 16)]


def test_the_schema_that_is_shipped_is_the_one_that_is_checked(pytestconfig):
    shipped = json.loads((pytestconfig.rootpath / "deploy" / "fleet" / "messages.schema.json").read_text())
    assert shipped == message_schema()

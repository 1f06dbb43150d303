"""What the receiver has taken and not stored has a limit of bytes, and nothing is lost by it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import event_message, minute_message, topic_of
from edge_app.delivery.mqtt import MqttPublisher
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.fleet import backlog as backlog_module
from edge_app.fleet.backlog import Backlog, Taken
from edge_app.fleet.database import FleetDatabase
from edge_app.storage import StorageConfig
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.storage.made import event, minute
from tests.edge_app.test_live import wait_until

_LIMIT = 400_000
_LONG = 40_000


@pytest.fixture
def broker(tmp_path, request):
    """A broker that hands over as much as it has, unless a test says otherwise: only the receiver keeps to a limit."""
    lines = getattr(request, "param", ("max_inflight_messages 0",))
    running = Broker(tmp_path / "broker", "allow_anonymous true", *lines)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("edge_app.fleet.ingest._MOST_BYTES", _LIMIT)
    monkeypatch.setattr("edge_app.fleet.ingest._BATCH_BYTES", _LIMIT // 8)
    monkeypatch.setattr("edge_app.fleet.ingest._MOST_HELD_BYTES", _LIMIT // 4)


@pytest.fixture
def stuck(postgres, rows, ingest):
    """Let the database take no event until the test says so, or is over: receivers are stopped only then."""
    psycopg = pytest.importorskip("psycopg")
    FleetDatabase(postgres.url).close()
    connection = psycopg.connect(postgres.url)
    yield lambda: connection.execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE"), connection.rollback
    connection.close()


def long_event(number):
    """An event of about 40 kB, which spaces make it."""
    text = event_message("dev", event(number)).payload
    return text[:-1] + " " * (_LONG - len(text)) + "}"


def taken(number, size=100, device="dev"):
    return Taken(1, number, device, b"x" * (size - len(device)))


def test_messages_are_gathered_in_order_up_to_a_number_and_a_size():
    backlog = Backlog(10, 10_000)
    for number in range(6):
        assert backlog.put(taken(number, 1000), threading.Event())
    assert [one.mid for one in backlog.gather(2, 10_000, 0.01)] == [0, 1]
    assert [one.mid for one in backlog.gather(9, 3000, 0.01)] == [2, 3, 4]
    assert [one.mid for one in backlog.gather(9, 10, 0.01)] == [5]
    assert backlog.gather(9, 10, 0.01) == []
    # All are in hand until it is said what became of them.
    assert backlog.size == 6000
    backlog.keep_in_hand(500)
    assert backlog.size == 500


def put_in_thread(backlog, one, stopping=None):
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(backlog.put(one, stopping or threading.Event())), daemon=True
    )
    thread.start()
    return answers, thread


@pytest.mark.parametrize(("most", "most_bytes"), [(100, 1000), (10, 1_000_000)])
def test_who_puts_waits_until_half_of_what_is_allowed_is_stored(most, most_bytes, caplog):
    backlog = Backlog(most, most_bytes)
    for number in range(10):
        backlog.put(taken(number), threading.Event())
    answers, thread = put_in_thread(backlog, taken(10))
    wait_until(lambda: backlog.pauses == 1)
    assert "no more are read until there is room" in caplog.text
    assert len(backlog.gather(4, 10_000, 0.01)) == 4
    backlog.keep_in_hand(0)
    time.sleep(0.5)
    assert answers == [] and backlog.size == 600
    assert len(backlog.gather(2, 10_000, 0.01)) == 2
    backlog.keep_in_hand(0)
    thread.join(5.0)
    assert (answers, backlog.size, backlog.pauses) == ([True], 500, 1)


def test_what_there_is_room_for_is_read_after_a_while_so_that_the_broker_hears_what_was_stored(monkeypatch):
    monkeypatch.setattr(backlog_module, "_LONGEST_REST_S", 0.5)
    backlog = Backlog(100, 1000)
    for number in range(10):
        backlog.put(taken(number), threading.Event())
    answers, thread = put_in_thread(backlog, taken(10))
    time.sleep(1.0)
    assert answers == []
    backlog.gather(1, 10_000, 0.01)
    backlog.keep_in_hand(0)
    thread.join(5.0)
    assert (answers, backlog.size) == ([True], 1000)


def test_a_stop_ends_the_wait_and_the_message_is_not_taken():
    backlog = Backlog(100, 1000)
    for number in range(10):
        backlog.put(taken(number), threading.Event())
    stopping = threading.Event()
    answers, thread = put_in_thread(backlog, taken(10), stopping)
    wait_until(lambda: backlog.pauses == 1)
    stopping.set()
    thread.join(5.0)
    assert (answers, backlog.size) == ([False], 1000)


def send_until_it_pauses(device, receiver, count):
    for number in range(count):
        device.send(long_event(number))
    wait_until(lambda: receiver.pauses == 1)


def test_a_flood_while_the_database_is_stuck_stays_below_the_limit_and_all_of_it_is_stored(
    small, stuck, ingest, device, rows, caplog
):
    lock, release = stuck
    receiver = ingest()
    lock()
    send_until_it_pauses(device, receiver, 60)
    most_bytes = 0
    for _ in range(20):
        most_bytes = max(most_bytes, receiver.taken_bytes)
        time.sleep(0.05)
    assert _LIMIT - _LONG - 1000 < most_bytes <= _LIMIT
    release()
    # Nothing is sent again here, as by a device that takes the broker's word.
    wait_until(lambda: rows("SELECT count(*) FROM event") == [(60,)], 30.0)
    wait_until(lambda: len(set(device.confirmed())) == 60)
    wait_until(lambda: receiver.taken_bytes == 0)
    assert (receiver.doubled, receiver.refused) == (0, 0)
    assert "no more are read until there is room" in caplog.text


def test_a_broker_that_hangs_up_on_a_receiver_that_does_not_read_hands_over_again_what_is_not_stored(
    small, stuck, ingest, device, rows, monkeypatch
):
    monkeypatch.setattr("edge_app.fleet.ingest._KEEPALIVE_S", 2)
    lock, release = stuck
    receiver = ingest()
    hung_up = []
    receiver._client.on_disconnect = lambda *what: hung_up.append(what[3])
    lock()
    # More than the sockets hold by themselves.
    send_until_it_pauses(device, receiver, 400)
    time.sleep(8.0)  # the broker hangs up after one and a half times the keepalive, and looks now and then
    assert receiver.taken_bytes <= _LIMIT
    release()
    wait_until(lambda: rows("SELECT count(*) FROM event") == [(400,)], 60.0)
    wait_until(lambda: len(set(device.confirmed())) == 400)
    wait_until(lambda: receiver.taken_bytes == 0)
    assert hung_up and receiver._connection >= 2
    assert receiver.refused == 0


def test_a_receiver_that_is_stopped_while_it_waits_for_room_loses_nothing(small, stuck, ingest, device, rows):
    lock, release = stuck
    receiver = ingest()
    lock()
    send_until_it_pauses(device, receiver, 60)
    stopping = threading.Thread(target=receiver.stop)
    stopping.start()
    time.sleep(0.3)
    release()
    stopping.join(20.0)
    assert not stopping.is_alive()
    ingest()
    wait_until(lambda: rows("SELECT count(*) FROM event") == [(60,)], 30.0)


def test_what_the_database_does_not_take_now_is_held_up_to_a_limit_of_bytes(small, ingest, device, rows, change_schema):
    receiver = ingest()
    back = "ALTER TABLE away RENAME TO event"
    change_schema("ALTER TABLE event RENAME TO away", back)
    for number in range(60):
        device.send(long_event(number))
    wait_until(lambda: receiver.pauses == 1)
    # Above the limit no more are gathered, and a batch may exceed it.
    assert receiver.held * _LONG <= _LIMIT // 4 + _LIMIT // 8 + _LONG
    assert receiver.taken_bytes <= _LIMIT
    device.send(minute_message("dev", minute(1)).payload, "minute")
    change_schema(back)
    wait_until(lambda: rows("SELECT count(*) FROM event") == [(60,)], 60.0)
    wait_until(lambda: rows("SELECT count(*) FROM minute") == [(1,)])
    wait_until(lambda: receiver.taken_bytes == 0)
    assert receiver.held == 0


def test_what_is_held_is_tried_again_in_parts_and_acknowledged_once(receiver, monkeypatch):
    monkeypatch.setattr("edge_app.fleet.ingest._BATCH", 2)
    receiver._store([Taken(1, mid, "dev", event_message("dev", event(mid)).payload.encode()) for mid in range(1, 6)])
    assert receiver.held == 5
    # The database goes after the first part.
    receiver.database.takes, receiver.database.takes_before_it_fails = True, 1
    receiver._held_due_s = 0.0
    with pytest.raises(pytest.importorskip("psycopg").OperationalError):
        receiver._store_held()
    assert (receiver.held, receiver._client.acked) == (3, [1, 2])
    receiver.database.takes_before_it_fails = None
    receiver._store_held()
    assert (receiver.held, receiver._client.acked) == (0, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("broker", [("max_inflight_bytes 300000", "max_queued_bytes 500000")], indirect=True)
def test_what_the_broker_throws_away_above_its_limit_is_sent_again_by_devices_until_it_is_stored(
    small, stuck, ingest, broker, tmp_path, rows
):
    lock, release = stuck
    receiver = ingest()
    writer = HistoryWriter(StorageConfig(folder=tmp_path / "state", min_free_mb=0, commit_s=0.02))
    writer.start()
    channel = Channel("mqtt", frozenset({"event"}), lambda m: topic_of("edge", "dev", m.kind, m.camera))
    messages = [replace(event_message("dev", event(number)), payload=long_event(number)) for number in range(60)]
    writer.put(put_messages([channel], messages))
    config = MqttConfig(host="127.0.0.1", port=broker.port, prefix="edge", device="dev", confirm="receiver")
    outbox = Outbox(writer.path, writer.put)
    publisher = MqttPublisher(config, "dev", outbox, dict, repeat_s=2.0)
    lock()
    publisher.start()
    try:
        wait_until(lambda: receiver.taken_bytes > _LONG and publisher.repeated > 0)
        assert receiver.taken_bytes <= _LIMIT
        release()
        wait_until(lambda: publisher.confirmed == 60 and outbox.waiting("mqtt", 0, 10) == [], 60.0)
    finally:
        release()
        publisher.stop()
        writer.stop()
    assert rows("SELECT count(*) FROM event") == [(60,)]

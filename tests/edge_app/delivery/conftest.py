from __future__ import annotations

import pytest

from edge_app.delivery.messages import event_message, topic_of
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.storage import StorageConfig
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.storage.made import event


@pytest.fixture
def writer(tmp_path):
    made = HistoryWriter(StorageConfig(folder=tmp_path / "state", min_free_mb=0, commit_s=0.02))
    made.start()
    yield made
    if made.is_open:
        made.stop()


@pytest.fixture
def outbox(writer):
    return Outbox(writer.path, writer.put)


@pytest.fixture
def post(writer):
    """Put events with these numbers into the outbox for a channel."""

    def put(numbers, channel="mqtt", device="dev"):
        carrier = Channel(channel, frozenset({"event"}), lambda m: topic_of("edge", device, m.kind, m.camera))
        for number in numbers:
            writer.put(put_messages([carrier], [event_message(device, event(number))]))

    return put


@pytest.fixture
def broker(tmp_path):
    running = Broker(tmp_path / "broker")
    running.start()
    yield running
    running.kill()

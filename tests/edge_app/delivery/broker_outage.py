"""Kills the broker for a while under load, and prints what arrived.

``python -m tests.edge_app.delivery.broker_outage FOLDER [--before-s 20] [--outage-s 120] [--after-s 20] [--rate 20]``
publishes events at a rate, kills Mosquitto (SIGKILL, nothing persisted) while messages are on their way, starts it
again, and waits until the outbox is empty. Halfway through the outage the publisher is stopped and started anew, as a
restart of the device would. Each event starts at a time of its own, which tells them apart whatever their messages'
ids are.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import event_message, parse_message, topic_of
from edge_app.delivery.mqtt import CHANNEL, MqttPublisher
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.storage import StorageConfig, Store
from edge_app.storage.statements import add_event
from edge_app.storage.writer import HistoryWriter
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.delivery.listener import Listener
from tests.edge_app.storage.made import NOON, event


class Load:
    """Stores events at a steady rate, each with its message in the same commit, until it is stopped."""

    def __init__(self, writer: HistoryWriter, rate: float) -> None:
        self.made = 0
        self._writer = writer
        self._rate = rate
        self._channel = Channel(CHANNEL, frozenset({"event"}), lambda m: topic_of("edge", "dev", m.kind, m.camera))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        started_s = time.monotonic()
        while not self._stopping.wait(max(0.0, started_s + self.made / self._rate - time.monotonic())):
            made = event(self.made, start=NOON + self.made)
            self._writer.put([add_event(made), *put_messages([self._channel], [event_message("dev", made)])])
            self.made += 1


def run(folder: Path, before_s: float, outage_s: float, after_s: float, rate: float, repeat_s: float) -> dict[str, Any]:
    """Do it, and return the figures."""
    broker = Broker(folder / "broker")
    broker.start()
    listener = Listener(broker.port, "edge/dev/event/#", confirm=True)
    writer = HistoryWriter(StorageConfig(folder=folder / "state", min_free_mb=0))
    writer.start()
    outbox = Outbox(writer.path, writer.put)
    config = MqttConfig(host="127.0.0.1", port=broker.port, prefix="edge", confirm="receiver")

    publishers = []

    def publish() -> MqttPublisher:
        publishers.append(MqttPublisher(config, "dev", outbox, dict, repeat_s))
        publishers[-1].start()
        return publishers[-1]

    publisher = publish()
    load = Load(writer, rate)
    time.sleep(before_s)
    since = len(listener.uids)
    wait_for(lambda: len(listener.uids) > since, pause_s=0.0005)
    broker.kill()
    time.sleep(outage_s / 2)
    arrived_before = len(listener.uids)
    publisher.stop()
    confirmed_before = publisher.confirmed
    publisher = publish()
    time.sleep(outage_s / 2)
    waiting = Store(writer.path).statistics()["outbox"]
    broker.start()
    back_s, made_until_back = time.monotonic(), load.made
    wait_for(lambda: len(listener.uids) >= made_until_back)
    caught_up_s = time.monotonic() - back_s
    time.sleep(after_s)
    load.stop()
    wait_for(lambda: len(listener.uids) >= load.made and not Store(writer.path).statistics()["outbox"])
    publisher.stop()
    listener.close()
    writer.stop()
    broker.kill()
    said = [(parse_message(payload), payload) for _, payload, _ in listener.messages]
    return {
        "events": load.made,
        "stored": Store(writer.path).events().total,
        "arrived_before_outage": arrived_before,
        "confirmed_before_outage": confirmed_before,
        "waiting_at_its_end": waiting,
        "arrived": len(listener.uids),
        "different_events": len({message.start_utc_s for message, _ in said}),
        "different_messages": len({payload for _, payload in said}),
        "arrived_twice_with_the_same_id": sum(count - 1 for count in listener.uids.values()),
        "published_again_by_one_publisher": sum(one.repeated for one in publishers),
        "left_in_outbox": Store(writer.path).statistics()["outbox"],
        "seconds_from_broker_back_to_caught_up": round(caught_up_s, 1),
        "lost": load.made - len(listener.uids),
    }


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0, pause_s: float = 0.05) -> None:
    """Wait until something holds; go on without it when it takes too long, the figures will tell."""
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(pause_s)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before-s", type=float, default=20.0)
    parser.add_argument("--outage-s", type=float, default=120.0)
    parser.add_argument("--after-s", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--repeat-s", type=float, default=30.0)
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()

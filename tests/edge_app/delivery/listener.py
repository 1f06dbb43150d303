"""A subscriber for tests: keeps what it gets, and confirms it where it is told to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from paho.mqtt import client as paho


class Listener:
    """Subscribes to topics and keeps every message; ``confirm`` answers as the fleet's receiver does."""

    def __init__(self, port: int, topics: str = "#", confirm: bool = False) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.uids: Counter[str] = Counter()
        self._confirm = confirm
        self._topics = topics
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port, 10)
        self._client.loop_start()
        assert self._subscribed.wait(10.0)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def payloads(self, topic: str) -> list[Any]:
        """Return what came on a topic, as JSON where it is."""
        return [_parsed(payload) for where, payload, _ in list(self.messages) if where == topic]

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload, message.retain))
        said = _parsed(message.payload)
        if isinstance(said, dict) and "id" in said:
            self.uids[said["id"]] += 1
            if self._confirm:
                prefix, device = message.topic.split("/")[:2]
                client.publish(f"{prefix}/{device}/ack", json.dumps({"ids": [said["id"]], "refused": []}), qos=1)


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode()

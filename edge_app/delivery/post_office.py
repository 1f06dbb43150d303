"""All ways out of a configuration together."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional, Protocol
from urllib.parse import unquote, urlsplit

from edge_app.config import Config
from edge_app.delivery.apprise_sender import AppriseSender
from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import Message, device_name, topic_of
from edge_app.delivery.mqtt import CHANNEL, LiveStates, MqttPublisher, make_client
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.delivery.webhook import Webhook
from edge_app.delivery.worker import DeliveryWorker, Sender
from edge_app.masking import keep_out_of_logs, masked
from edge_app.secret import read_secret
from edge_app.storage.statements import Statement
from edge_app.storage.writer import HistoryWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WayOut:
    """How one way out does.

    Attributes:
        channel: its name, without an address.
        waiting: messages that its receiver has not confirmed; None where history cannot be read.
        trouble: what is wrong, without secrets; None when nothing is.
    """

    channel: str
    waiting: Optional[int]
    trouble: Optional[str]


class _Stoppable(Protocol):
    trouble: Optional[str]

    def start(self) -> None: ...
    def stop(self) -> None: ...


class PostOffice:
    """Puts messages into the outbox, and sends them each its way.

    Attributes:
        device: name of this device in messages.
    """

    def __init__(self, config: Config) -> None:
        """Find out the ways; ``open`` begins to send.

        Raises:
            UserError: a secret, certificate or library is missing, or an address is none.
        """
        self.device = device_name(config.mqtt.device)
        self._config = config
        self._channels: list[Channel] = []
        self._senders: list[tuple[str, Sender]] = []
        self._threads: dict[str, _Stoppable] = {}
        self._outbox: Optional[Outbox] = None
        if config.mqtt.host is not None:
            make_client(config.mqtt, self.device)  # what cannot be used is said before anything is opened
            self._channels.append(_mqtt_channel(config.mqtt, self.device))
        for number, webhook in enumerate(config.alerts.receivers.webhooks):
            secret = (
                read_secret(webhook.secret, f"alerts.receivers.webhooks.{number}.secret") if webhook.secret else None
            )
            name = f"webhook-{_short(webhook.url)}"
            self._channels.append(Channel(name, frozenset(webhook.send)))
            self._senders.append((name, Webhook(webhook.url, secret, webhook.timeout_s, webhook.give_up_h)))
        for number, reference in enumerate(config.alerts.receivers.apprise):
            key = f"alerts.receivers.apprise.{number}"
            address = read_secret(reference, key)
            _keep_parts_out_of_logs(address)
            name = f"apprise-{_short(reference)}"
            self._channels.append(Channel(name, frozenset({"alert"})))
            self._senders.append((name, AppriseSender(address, key)))

    def put(self, messages: Iterable[Message]) -> list[Statement]:
        """Return what puts messages into the outbox, to be committed together with what they tell."""
        return put_messages(self._channels, messages)

    def open(self, writer: HistoryWriter, states: LiveStates) -> None:
        """Begin to send.

        Raises:
            UserError: as the constructor.
        """
        outbox = self._outbox = Outbox(writer.path, writer.put, writer.report_damage)
        if self._config.mqtt.host is not None:
            self._threads[CHANNEL] = MqttPublisher(self._config.mqtt, self.device, outbox, states)
        self._threads.update((name, DeliveryWorker(name, sender, outbox)) for name, sender in self._senders)
        writer.put([_forget_others([channel.name for channel in self._channels])])
        for thread in self._threads.values():
            thread.start()

    def describe(self) -> str:
        """Name the ways out, without their addresses."""
        return ", ".join(channel.name for channel in self._channels) or "nobody"

    def ways_out(self) -> list[WayOut]:
        """Say how each way out does; may be called from any thread."""
        try:
            waiting: Optional[dict[str, int]] = None if self._outbox is None else self._outbox.count()
        except (OSError, sqlite3.Error):
            waiting = None
        return [
            WayOut(
                name,
                None if waiting is None else waiting.get(name, 0),
                None if thread.trouble is None else masked(thread.trouble),
            )
            for name, thread in self._threads.items()
        ]

    def close(self) -> None:
        """Stop sending; what was not confirmed stays in the outbox."""
        for thread in self._threads.values():
            thread.stop()


def _mqtt_channel(config: MqttConfig, device: str) -> Channel:
    return Channel(
        CHANNEL,
        frozenset(config.publish),
        lambda message: topic_of(config.prefix, device, message.kind, message.camera),
    )


def _forget_others(channels: list[str]) -> Statement:
    """Delete messages for receivers that are no longer configured."""
    marks = ", ".join("?" for _ in channels)
    return Statement(f"DELETE FROM outbox WHERE channel NOT IN ({marks})", tuple(channels), durable=False)


def _keep_parts_out_of_logs(address: str) -> None:
    """Mask the address, and the password in it, however the service's own library writes it."""
    keep_out_of_logs(address.partition("://")[2])
    try:
        password = urlsplit(address).password
    except ValueError:
        password = None
    if password:
        keep_out_of_logs(password)
        keep_out_of_logs(unquote(password))


def _short(text: str) -> str:
    """Return a name that stays the same over restarts and tells nothing of the address."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]

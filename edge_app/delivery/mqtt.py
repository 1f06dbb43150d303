"""Publishes the outbox to an MQTT broker, and what goes on now.

Messages go with quality of service 1 and stay in the outbox until they are confirmed: by the broker, or, with
``confirm: receiver``, by the program that stores them (it publishes their ids on ``PREFIX/DEVICE/ack``, those that it
can never store under ``refused``). So each
arrives at least once, and a receiver that keeps ids has it once.
"""

from __future__ import annotations

import json
import logging
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Optional

from edge_app.delivery.config import MqttConfig
from edge_app.delivery.discovery import discovery_messages
from edge_app.delivery.messages import LONGEST_BYTES, topic_of
from edge_app.delivery.outbox import Outbox, Waiting
from edge_app.errors import UserError
from edge_app.secret import read_secret

log = logging.getLogger(__name__)

CHANNEL = "mqtt"
# Messages on their way at once.
_WINDOW = 100
_POLL_S = 0.2
_KEEPALIVE_S = 30
_LONGEST_PAUSE_S = 30
# A message that its receiver has not confirmed for so long is published again.
_REPEAT_S = 30.0

LiveStates = Callable[[], dict[str, dict[str, Any]]]


class MqttPublisher:
    """Sends the outbox's channel ``mqtt`` in a thread of its own.

    Attributes:
        connected: whether the broker is there.
        confirmed, repeated, refused: messages so far; refused ones are confirmed too, so that they do not come again.
        too_long: messages so far that were dropped, since a fleet's broker would hang up at each.
        trouble: what is wrong; None when nothing is.
    """

    def __init__(
        self, config: MqttConfig, device: str, outbox: Outbox, states: LiveStates, repeat_s: float = _REPEAT_S
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            config: with a host.
            device: name of this device.
            outbox: what to send.
            states: gives what goes on now at each camera, as JSON values.
            repeat_s: see ``confirm: receiver``.

        Raises:
            UserError: the MQTT library is not installed, or a certificate or secret cannot be read.
        """
        assert config.host is not None
        self.connected = False
        self.confirmed = 0
        self.repeated = 0
        self.refused = 0
        self.too_long = 0
        self.trouble: Optional[str] = None
        self._config = config
        self._host = config.host
        self._device = device
        self._outbox = outbox
        self._states = states
        self._repeat_s = repeat_s
        self._status_topic = f"{config.prefix}/{device}/status"
        self._ack_topic = f"{config.prefix}/{device}/ack"
        self._by_receiver = config.confirm == "receiver"
        self._after_seq = 0
        self._on_way: dict[int, tuple[Waiting, float]] = {}  # seq -> message, when it was published
        self._seq_of_mid: dict[int, int] = {}
        self._seq_of_uid: dict[str, int] = {}
        # What paho's thread hears is handled in ours, so that no lock is held in a callback.
        self._acked_mids: deque[int] = deque()
        self._acked_uids: deque[str] = deque()
        self._fresh_connection = False
        self._refused = False
        self._discovered: set[str] = set()
        self._state_s = 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Connect as soon as the broker is there, and send."""
        self._client.connect_async(self._host, self._config.port, _KEEPALIVE_S)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye; what was not confirmed stays in the outbox."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(2.0)
        if self.connected:
            farewell = self._client.publish(self._status_topic, "offline", qos=1, retain=True)
            deadline_s = time.monotonic() + 1.0
            while not farewell.is_published() and time.monotonic() < deadline_s:
                time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self) -> Any:
        client = make_client(self._config, self._device)
        client.will_set(self._status_topic, "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        client.max_inflight_messages_set(_WINDOW)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda client, data, mid, reason, properties: self._heard(self._acked_mids, mid)
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = True
            self._complain(f"the MQTT broker {self._host} refused the connection ({reason}); check name and password")
            return
        self._fresh_connection = True
        self.connected = True
        self.trouble = None
        log.info("connected to the MQTT broker %s", self._host)
        self._wake.set()

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        # paho calls this while it handles what went wrong.
        error = sys.exc_info()[1]
        reason = getattr(error, "strerror", None) or error or "no reason was given"
        self._complain(
            f"the MQTT broker {self._host} port {self._config.port} cannot be reached ({reason}); messages wait until "
            "it is there"
        )

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        was_connected, self.connected = self.connected, False
        # After a refusal the broker hangs up as well; that says nothing new.
        was_refused, self._refused = self._refused, False
        if not reason.is_failure or was_refused:
            return
        if was_connected:
            self._complain(f"the MQTT broker {self._host} is gone ({reason}); messages wait until it is back")
        else:
            self._complain(
                f"the MQTT broker {self._host} port {self._config.port} does not answer as a broker ({reason}); check "
                "mqtt.host, mqtt.port and mqtt.tls"
            )

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        try:
            said = json.loads(message.payload)
            for uid in said["refused"]:
                log.error("the fleet's receiver refused message %.100s for what it holds; it is dropped", uid)
                self.refused += 1
            for uid in (*said["ids"], *said["refused"]):
                self._heard(self._acked_uids, str(uid))
        except (ValueError, KeyError, TypeError):
            log.warning("what came on %s is no confirmation; it is left aside", message.topic)

    def _heard(self, where: deque[Any], what: Any) -> None:
        where.append(what)
        self._wake.set()

    def _complain(self, sentence: str) -> None:
        if self.trouble != sentence:
            log.warning("%s", sentence)
        self.trouble = sentence

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_POLL_S)
            self._wake.clear()
            try:
                self._settle()
                if self.connected:
                    self._greet()
                    self._send()
                    self._tell_state()
            except Exception:
                log.exception("publishing to the MQTT broker failed")
                self._stopping.wait(1.0)
        self._outbox.close()

    def _settle(self) -> None:
        """Delete what was confirmed."""
        done: list[int] = []
        while self._acked_mids:
            seq = self._seq_of_mid.pop(self._acked_mids.popleft(), None)
            if seq is not None and not self._by_receiver:
                done.append(seq)
        while self._acked_uids:
            seq = self._seq_of_uid.get(self._acked_uids.popleft())
            if seq is not None:
                done.append(seq)
        done = [seq for seq in dict.fromkeys(done) if seq in self._on_way]
        for seq in done:
            message, _ = self._on_way.pop(seq)
            self._seq_of_uid.pop(message.uid, None)
        self.confirmed += len(done)
        self._outbox.delivered(done)

    def _greet(self) -> None:
        """After each connection: say that we are there."""
        if not self._fresh_connection:
            return
        self._fresh_connection = False
        if self._by_receiver:
            self._client.subscribe(self._ack_topic, qos=1)
        self._client.publish(self._status_topic, "online", qos=1, retain=True)
        self._discovered.clear()
        self._state_s = 0.0

    def _send(self) -> None:
        """Publish what waits, as far as the window allows."""
        room = _WINDOW - len(self._on_way)
        if room > 0:
            for message in self._outbox.waiting(CHANNEL, self._after_seq, room):
                self._after_seq = message.seq
                if len(message.payload.encode()) > LONGEST_BYTES:
                    self._drop(message)
                else:
                    self._publish(message)
        if self._by_receiver:
            late_s = time.monotonic() - self._repeat_s
            for message, since_s in list(self._on_way.values()):
                if since_s < late_s:
                    self.repeated += 1
                    self._publish(message)

    def _drop(self, message: Waiting) -> None:
        """Give up a message that would keep all after it from leaving; none that this version makes is so long."""
        self.too_long += 1
        self._outbox.delivered([message.seq])
        self._complain(
            f"message {message.uid:.100} is longer than {LONGEST_BYTES >> 10} KiB, which no fleet takes; it is dropped"
        )

    def _publish(self, message: Waiting) -> None:
        mid = self._client.publish(message.topic, message.payload, qos=1).mid
        self._seq_of_mid[mid] = message.seq
        self._seq_of_uid[message.uid] = message.seq
        self._on_way[message.seq] = (message, time.monotonic())

    def _tell_state(self) -> None:
        """Say now and then what goes on; only the newest counts, so it is not kept."""
        if time.monotonic() < self._state_s:
            return
        self._state_s = time.monotonic() + self._config.state_s
        for camera, state in self._states().items():
            topic = topic_of(self._config.prefix, self._device, "state", camera)
            if self._config.home_assistant is not None and camera not in self._discovered:
                self._discovered.add(camera)
                for where, what in discovery_messages(
                    self._config.home_assistant, self._device, camera or "device", topic, self._status_topic
                ):
                    self._client.publish(where, what, qos=1, retain=True)
            self._client.publish(topic, json.dumps(state), qos=0, retain=True)


def make_client(config: MqttConfig, device: str) -> Any:
    """Return a client of paho that knows how to log in; nothing is connected yet.

    Raises:
        UserError: the MQTT library is not installed, or a certificate or secret cannot be read.
    """
    context = _tls_context(config) if config.tls else None
    try:
        from paho.mqtt import client as paho  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            "'mqtt.host' needs the MQTT library; in this application's folder: pip install -e '.[mqtt]'"
        ) from error
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"{config.prefix}-{device}")
    if config.username is not None:
        password = read_secret(config.password, "mqtt.password") if config.password else None
        client.username_pw_set(config.username, password)
    if context is not None:
        client.tls_set_context(context)
    return client


def _tls_context(config: MqttConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
        if config.client_cert_file is not None:
            context.load_cert_chain(config.client_cert_file, config.client_key_file)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"a certificate of 'mqtt' cannot be used ({error}); check the files' paths and form") from error
    return context

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from edge_app.config import Config, parse_config
from edge_app.delivery.config import MqttConfig
from edge_app.delivery.messages import LONGEST_BYTES, Message, message_schema, parse_message, topic_of
from edge_app.delivery.mqtt import MqttPublisher
from edge_app.delivery.outbox import Channel, Outbox, put_messages
from edge_app.delivery.post_office import PostOffice
from edge_app.errors import UserError
from edge_app.sinks import StatusNotice
from edge_app.storage import Store
from edge_app.storage.wiring import open_sinks
from tests.edge_app.delivery.broker import Broker, free_port
from tests.edge_app.delivery.broker_outage import run
from tests.edge_app.delivery.listener import Listener
from tests.edge_app.storage.made import NOON, two_people, with_event
from tests.edge_app.test_live import wait_until

_CHANNEL = Channel("mqtt", frozenset({"event"}), lambda message: topic_of("edge", "dev", "event", message.camera))


@pytest.fixture
def listen(broker):
    made = []

    def make(*arguments, **more):
        made.append(Listener(broker.port, *arguments, **more))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def publish(broker, outbox):
    made = []

    def make(states=dict, repeat_s=1.0, **config):
        config = MqttConfig(**{"host": "127.0.0.1", "port": broker.port, "prefix": "edge", **config})
        made.append(MqttPublisher(config, "dev", outbox, states, repeat_s))
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.stop()


def test_events_leave_the_outbox_once_the_broker_has_them(listen, publish, post, outbox):
    listener = listen("edge/+/event/#")
    post(range(30))
    publish()
    wait_until(lambda: len(listener.uids) == 30)
    assert set(listener.uids.values()) == {1}
    assert listener.messages[0][0] == "edge/dev/event/door"
    assert parse_message(listener.messages[0][1]).min_distance_m == 0.8
    wait_until(lambda: outbox.waiting("mqtt", 0, 10) == [])


def test_an_event_waits_for_its_receiver_where_that_is_asked(listen, publish, post, outbox):
    post(range(3))
    publisher = publish(confirm="receiver", repeat_s=0.3)
    wait_until(lambda: publisher.repeated > 0)
    assert len(outbox.waiting("mqtt", 0, 10)) == 3
    listener = listen("edge/+/event/#", confirm=True)
    wait_until(lambda: publisher.confirmed == 3)
    assert len(listener.uids) == 3
    wait_until(lambda: outbox.waiting("mqtt", 0, 10) == [])


def put_in_outbox(writer, number, length):
    """A message of so many bytes, as only an older version can have left it."""
    payload = json.dumps({"id": f"run-{number}", "more": ""})
    payload = payload[:-2] + "é" * ((length - len(payload)) // 2) + payload[-2:]
    statement = put_messages([_CHANNEL], [Message("event", "door", f"run-{number}", payload)])
    writer.put(statement)
    return len(payload.encode())


def test_a_message_that_the_shipped_broker_would_hang_up_at_is_not_sent_and_keeps_no_other_from_leaving(
    tmp_path, writer, outbox, pytestconfig, caplog
):
    shipped = (pytestconfig.rootpath / "deploy" / "fleet" / "mosquitto" / "mosquitto.conf").read_text()
    (limit,) = [line for line in shipped.splitlines() if line.startswith("max_packet_size")]
    broker = Broker(tmp_path / "limited", "allow_anonymous true", limit)
    broker.start()
    listener = Listener(broker.port, "edge/+/event/#")
    config = MqttConfig(host="127.0.0.1", port=broker.port, prefix="edge")
    publisher = MqttPublisher(config, "dev", outbox, dict)
    hung_up = []
    on_disconnect = publisher._client.on_disconnect
    publisher._client.on_disconnect = lambda *what: hung_up.append(what[3]) or on_disconnect(*what)
    try:
        assert put_in_outbox(writer, 1, 300_000) > LONGEST_BYTES
        assert put_in_outbox(writer, 2, LONGEST_BYTES) in (LONGEST_BYTES - 1, LONGEST_BYTES)
        put_in_outbox(writer, 3, 1000)
        publisher.start()
        wait_until(lambda: set(listener.uids) == {"run-2", "run-3"})
        wait_until(lambda: outbox.waiting("mqtt", 0, 10) == [])
        assert (publisher.too_long, publisher.confirmed, hung_up) == (1, 2, [])
        assert "run-1 is longer than 256 KiB" in publisher.trouble and publisher.trouble in caplog.text
        # This is what it spares: whoever sends such a message is hung up on, each time.
        publisher._client.publish("edge/dev/event/door", "x" * 300_000, qos=1)
        wait_until(lambda: hung_up)
    finally:
        publisher.stop()
        listener.close()
        broker.kill()


def test_the_status_is_online_and_the_will_says_offline_when_the_device_is_gone(listen, publish):
    publisher = publish()
    listener = listen("edge/dev/status")
    wait_until(lambda: listener.payloads("edge/dev/status") == ["online"])
    publisher._client.socket().shutdown(2)  # no goodbye, as when the cable is pulled
    wait_until(lambda: listener.payloads("edge/dev/status")[:2] == ["online", "offline"])
    wait_until(lambda: listener.payloads("edge/dev/status")[-1] == "online")
    publisher.stop()
    wait_until(lambda: listener.payloads("edge/dev/status")[-1] == "offline")


def test_home_assistant_finds_every_sensor_of_a_camera(listen, publish):
    state = {"people": 2, "occupancy": 1, "violating_people": 2, "violation": "ON", "fault": "OFF"}
    publish(states=lambda: {"front door": state}, home_assistant="homeassistant", state_s=1.0)
    listener = listen("#")
    wait_until(lambda: len([t for t, _, _ in listener.messages if t.startswith("homeassistant/")]) >= 5)
    wait_until(lambda: listener.payloads("edge/dev/state/front door") != [])
    found = {
        topic: json.loads(payload) for topic, payload, _ in listener.messages if topic.startswith("homeassistant/")
    }
    assert len({payload["unique_id"] for payload in found.values()}) == 5
    for topic, payload in found.items():
        component, field = topic.split("/")[1], topic.split("/")[3]
        assert component in ("sensor", "binary_sensor")
        assert payload["state_topic"] == "edge/dev/state/front door"
        assert payload["value_template"] == f"{{{{ value_json.{field} }}}}"
        assert field in state
        assert payload["availability_topic"] == "edge/dev/status"


def test_a_killed_broker_and_a_restarted_publisher_lose_nothing(tmp_path):
    shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin") or pytest.skip(
        "Mosquitto is not installed"
    )
    figures = run(tmp_path, before_s=1.2, outage_s=1.5, after_s=0.5, rate=100.0, repeat_s=1.0)
    assert figures["waiting_at_its_end"] > 80
    assert figures["events"] == figures["stored"] == figures["arrived"] > 250
    assert figures["left_in_outbox"] == 0
    # An event has one id and one text, however often it comes: who keeps ids has each once.
    assert figures["different_events"] == figures["different_messages"] == figures["events"]
    # Only what had not been confirmed when the broker died, or for too long, may come again.
    unconfirmed = figures["arrived_before_outage"] - figures["confirmed_before_outage"]
    assert figures["confirmed_before_outage"] > 0
    assert figures["arrived_twice_with_the_same_id"] <= unconfirmed + figures["published_again_by_one_publisher"]


def messages_by_id(listener):
    """What came, in order, under each id."""
    came = {}
    for _, payload, _ in listener.messages:
        came.setdefault(json.loads(payload)["id"], []).append(payload)
    return came


def test_what_its_receiver_does_not_confirm_comes_again_as_the_same_message(listen, publish, post, outbox):
    listener = listen("edge/+/event/#")
    post(range(3))
    publisher = publish(confirm="receiver", repeat_s=0.3)
    wait_until(lambda: len(listener.uids) == 3 and min(listener.uids.values()) >= 3)
    assert set(listener.uids) == {"run-0", "run-1", "run-2"}
    assert [len(set(payloads)) for payloads in messages_by_id(listener).values()] == [1, 1, 1]
    assert publisher.confirmed == 0
    listen("edge/+/event/#", confirm=True)
    wait_until(lambda: publisher.confirmed == 3 and outbox.waiting("mqtt", 0, 10) == [])
    time.sleep(0.2)  # what had been published before the confirmation arrives
    came = dict(listener.uids)
    time.sleep(1.0)  # thrice the time after which they would come again
    assert dict(listener.uids) == came


def test_a_device_that_dies_before_it_notes_the_confirmation_sends_the_same_message_again(
    broker, listen, publish, post, writer, outbox
):
    listener = listen("edge/+/event/#")
    post(range(3))
    wait_until(lambda: len(outbox.waiting("mqtt", 0, 10)) == 3)
    pid = os.fork()
    if pid == 0:

        def die_instead(statements):
            if list(statements):
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            config = MqttConfig(host="127.0.0.1", port=broker.port, prefix="edge")
            MqttPublisher(config, "dev", Outbox(writer.path, die_instead), dict).start()
            time.sleep(60.0)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    wait_until(lambda: len(listener.uids) >= 1)
    assert len(outbox.waiting("mqtt", 0, 10)) == 3
    second = publish()
    wait_until(lambda: outbox.waiting("mqtt", 0, 10) == [])
    wait_until(lambda: set(listener.uids) == {"run-0", "run-1", "run-2"})
    wait_until(lambda: max(listener.uids.values()) == 2)
    assert [len(set(payloads)) for payloads in messages_by_id(listener).values()] == [1, 1, 1]
    came = dict(listener.uids)
    second.stop()
    third = publish()
    wait_until(lambda: third.connected)
    time.sleep(0.6)  # thrice the time after which it looks into the outbox
    assert dict(listener.uids) == came
    assert max(came.values()) == 2


def test_tls_and_a_password_are_used_and_a_wrong_one_is_said(tmp_path, outbox, post, monkeypatch, caplog):
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if not openssl or not passwd:
        pytest.skip("openssl and mosquitto_passwd are needed")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
         tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [passwd, "-b", "-c", tmp_path / "passwords", "dev", "correct horse"], check=True, capture_output=True
    )
    broker = Broker(
        tmp_path / "broker", f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem", "allow_anonymous false",
        f"password_file {tmp_path}/passwords",
    )  # fmt: skip
    broker.start()
    post(range(2))
    config = {"host": "localhost", "port": broker.port, "tls": True, "username": "dev", "password": "env:W_MQTT"}

    def publisher(**more):
        made = MqttPublisher(MqttConfig(**{**config, **more}), "dev", outbox, dict)
        made.start()
        return made

    try:
        monkeypatch.setenv("W_MQTT", "wrong horse")
        refused = publisher(ca_file=tmp_path / "cert.pem")
        wait_until(lambda: refused.trouble is not None)
        refused.stop()
        assert "refused the connection" in caplog.text
        monkeypatch.setenv("W_MQTT", "correct horse")
        untrusting = publisher()
        good = publisher(ca_file=tmp_path / "cert.pem")
        wait_until(lambda: good.confirmed == 2)
        good.stop()
        assert not untrusting.connected
        untrusting.stop()
    finally:
        broker.kill()


def test_a_run_tells_events_minutes_notices_and_alerts_of_one_configuration(broker, listen, tmp_path):
    listener = listen("edge/#")
    config = Config.model_validate(
        {
            "storage": {"folder": str(tmp_path / "state"), "min_free_mb": 0, "commit_s": 0.05},
            "mqtt": {"host": "127.0.0.1", "port": broker.port, "prefix": "edge", "device": "dev", "state_s": 1},
            "alerts": {"rules": [{"name": "full", "kind": "occupancy", "above": 1, "sustained_s": 0},
                                 {"name": "gone", "kind": "fault", "sustained_s": 0}]},
        }
    )  # fmt: skip
    with open_sinks(config) as sinks:
        for sink in sinks:
            sink.notice(StatusNotice("camera", "accelerator", False, "the Edge TPU is gone", NOON))
            for result in two_people(frames=20):
                sink.accept("camera", NOON + 50 + result.time_s, result)
            sink.accept("camera", NOON + 62, with_event(two_people(frames=20)[-1]))
        wait_until(lambda: len(listener.uids) >= 5)
        # The first state may come before the first result.
        wait_until(lambda: any(s["violation"] == "ON" for s in listener.payloads("edge/dev/state/camera")))
    kinds = sorted(topic.split("/")[2] for topic, _, _ in listener.messages if topic.count("/") == 3)
    assert {kind: kinds.count(kind) for kind in ("alert", "event", "minute", "notice")} == {
        "alert": 2, "event": 1, "minute": 1, "notice": 1,
    }  # fmt: skip
    state = listener.payloads("edge/dev/state/camera")[-1]
    assert (state["occupancy"], state["violation"], state["fault"]) == (2, "ON", "ON")
    store = Store(config.storage.path)
    assert sorted(alert.rule for alert in store.alerts()) == ["full", "gone"]


def test_a_minute_that_was_running_when_the_program_was_killed_is_told_at_the_next_start(broker, listen, tmp_path):
    listener = listen("edge/+/minute/#")
    config = Config.model_validate(
        {
            "storage": {"folder": str(tmp_path / "state"), "min_free_mb": 0, "commit_s": 0.02},
            "mqtt": {"host": "127.0.0.1", "port": broker.port, "prefix": "edge", "device": "dev"},
        }
    )
    pid = os.fork()
    if pid == 0:
        with open_sinks(config) as sinks:
            for result in two_people(frames=20):
                sinks[0].accept("camera", NOON + result.time_s, result)
            sinks[0].writer.commit_now()
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    with open_sinks(config):
        wait_until(lambda: len(listener.uids) == 1)
    assert json.loads(listener.messages[0][1])["people"] == 2


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", r"127\.0\.0\.1 port \d+ cannot be reached \(Connection refused\)"),
     ("nosuch.invalid", r"nosuch\.invalid port \d+ cannot be reached \(.+\)")],
)  # fmt: skip
def test_a_broker_that_was_never_there_is_said_once_and_messages_are_counted(tmp_path, caplog, host, said):
    config = Config.model_validate(
        {"storage": {"folder": str(tmp_path / "state"), "min_free_mb": 0, "commit_s": 0.02},
         "mqtt": {"host": host, "port": free_port(), "publish": ["event"]}}
    )  # fmt: skip
    post = PostOffice(config)
    with open_sinks(config, post=post) as sinks:
        sinks[0].accept("camera", NOON, with_event(two_people()[-1]))
        wait_until(lambda: [(way.channel, way.waiting) for way in post.ways_out()] == [("mqtt", 1)])
        wait_until(lambda: post.ways_out()[0].trouble is not None)
        assert re.search(said, post.ways_out()[0].trouble)
        time.sleep(2.5)  # paho tries again after one second, then after two
    assert len(re.findall(said, caplog.text)) == 1
    assert [record.levelname for record in caplog.records if "cannot be reached" in record.message] == ["WARNING"]


def test_a_broker_that_comes_later_ends_the_trouble(broker, publish):
    broker.kill()
    publisher = publish()
    wait_until(lambda: publisher.trouble is not None)
    broker.start()
    wait_until(lambda: publisher.connected)
    assert publisher.trouble is None


def test_a_server_that_is_no_broker_is_said(publish):
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = publish(port=server.getsockname()[1])
        server.accept()[0].close()
        wait_until(lambda: publisher.trouble is not None)
    assert "does not answer as a broker" in publisher.trouble


@pytest.mark.parametrize(
    ("mqtt", "said"),
    [
        ({"host": "b", "password": "hunter2", "username": "u", "tls": True}, "env:NAME or file:PATH"),
        ({"host": "b", "password": ["hunter2"], "username": "u"}, "password"),
        ({"host": "b", "password": "env:X", "username": "u"}, "would travel readable"),
        ({"host": "b", "password": "env:X", "tls": True}, "needs username"),
        ({"host": "b", "prefix": "a/#"}, "prefix"),
    ],
)
def test_a_wrong_section_is_one_sentence_without_the_secret(mqtt, said, tmp_path):
    with pytest.raises(UserError, match=said) as error:
        parse_config({"mqtt": mqtt}, "c.yaml", tmp_path)
    assert "hunter2" not in str(error.value)


def test_topics_stand_whatever_a_camera_is_called():
    assert topic_of("edge", "dev", "event", "a/b+c#d") == "edge/dev/event/a-b-c-d"
    assert topic_of("edge", "dev", "notice", "") == "edge/dev/notice/_"


def test_the_schema_covers_every_kind_and_refuses_what_it_does_not_know():
    assert len(message_schema()["oneOf"]) == 4
    with pytest.raises(ValueError, match="version"):
        parse_message(b'{"kind": "notice", "version": 2}')

"""The files for a fleet's central place. Containers are not started here: what is checked is said by each test."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from paho.mqtt import client as paho

from edge_app.fleet.database import FleetDatabase
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.test_live import wait_until

FLEET = Path(__file__).parents[3] / "deploy" / "fleet"
MADE_BY_THE_OWNER = ("./secrets/", "./certs")


def test_everything_that_the_compose_file_names_is_there():
    compose = yaml.safe_load((FLEET / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert ("image" in service) != ("build" in service), name
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = source in compose["volumes"] or source.startswith(MADE_BY_THE_OWNER) or (FLEET / source).exists()
            assert known, f"{name}: {volume}"
        for other in service.get("depends_on", {}):
            assert other in compose["services"]
    build = compose["services"]["receiver"]["build"]
    assert (FLEET / build["context"] / build["dockerfile"]).exists()
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:3000:3000", "8883:8883"]


def test_the_receiver_of_the_compose_file_is_a_command_that_is_understood():
    from click.testing import CliRunner

    from edge_app.cli import cli

    command = yaml.safe_load((FLEET / "compose.yaml").read_text())["services"]["receiver"]["command"]
    done = CliRunner().invoke(cli, [*command, "--help"])
    assert done.exit_code == 0
    options = {part.split("=")[0] for part in command if part.startswith("--")}
    assert all(option in done.output for option in options)


def test_the_broker_lets_each_device_say_only_what_is_its_own(tmp_path):
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if not openssl or not passwd:
        pytest.skip("openssl and mosquitto_passwd are needed")
    shutil.copy(FLEET / "mosquitto" / "acl", tmp_path / "acl")
    for user in ("gate-1", "gate-2", "fleet-ingest"):
        passwords = tmp_path / "passwords"
        more = [] if passwords.exists() else ["-c"]
        subprocess.run([passwd, "-b", *more, passwords, user, f"secret of {user}"], check=True, capture_output=True)
    shipped = (FLEET / "mosquitto" / "mosquitto.conf").read_text().replace("/mosquitto/config/", f"{tmp_path}/")
    shipped = shipped.replace("/mosquitto/data/", f"{tmp_path}/")
    # Without its two listeners: the test's own takes their place.
    lines = [line for line in shipped.splitlines() if not line.startswith(("listener", "certfile", "keyfile"))]
    broker = Broker(tmp_path / "broker", *lines)
    broker.start()
    try:
        heard = []
        ingest = _client(broker, "fleet-ingest", heard, "edge-social-distancing/+/event/+")
        spy_heard = []
        spy = _client(broker, "gate-2", spy_heard, "#")
        device = _client(broker, "gate-1", [], "edge-social-distancing/gate-1/ack")
        device.publish("edge-social-distancing/gate-2/event/door", "forged", qos=1)
        device.publish("edge-social-distancing/gate-1/event/door", "own", qos=1)
        ingest.publish("edge-social-distancing/gate-1/ack", "{}", qos=1)
        wait_until(lambda: heard == ["own"])
        time.sleep(0.2)
        assert (heard, spy_heard) == (["own"], [])
        for client in (ingest, spy, device):
            client.disconnect()
            client.loop_stop()
    finally:
        broker.kill()


def test_every_query_of_the_dashboard_runs_on_the_receivers_tables(postgres):
    pytest.importorskip("psycopg")
    board = json.loads((FLEET / "grafana" / "dashboards" / "fleet.json").read_text())
    source = yaml.safe_load((FLEET / "grafana" / "provisioning" / "datasources" / "database.yaml").read_text())
    database = FleetDatabase(postgres.url)
    database.set_status({"gate-1": True})
    try:
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]
            (target,) = panel["targets"]
            sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 day' AND now()", target["rawSql"])
            sql = re.sub(r"\$__timeGroup\((\w+), \$__interval\)", r"date_trunc('hour', \1)", sql)
            sql = sql.replace("${device:sqlstring}", "'gate-1'")
            assert "$" not in sql, panel["title"]
            database.query(sql)
        (variable,) = board["templating"]["list"]
        assert ("gate-1",) in database.query(variable["query"])
    finally:
        database.close()


def _client(broker, user, heard, topic):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=user)
    client.username_pw_set(user, f"secret of {user}")
    client.on_message = lambda client, data, message: heard.append(message.payload.decode())
    subscribed = []
    client.on_subscribe = lambda *arguments: subscribed.append(1)
    client.connect("127.0.0.1", broker.port)
    client.subscribe(topic, 1)
    client.loop_start()
    wait_until(lambda: subscribed)
    return client

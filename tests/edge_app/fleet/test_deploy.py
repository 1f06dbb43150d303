"""The files for a fleet's central place. Containers are not started here: what is checked is said by each test."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from paho.mqtt import client as paho

from edge_app.delivery.messages import minute_message, parse_message
from edge_app.fleet.database import FleetDatabase
from tests.edge_app.delivery.broker import Broker, free_port
from tests.edge_app.storage.made import WITHOUT_METRES, minute
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


@pytest.mark.parametrize("file", ["compose.yaml", "fleet/compose.yaml"])
def test_compose_itself_understands_the_file(file):
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install --no-install-recommends docker-compose)")
    path = FLEET.parent / file
    # Compose 1 of Debian 12 does not know the project's name yet, which came to the specification later.
    content = re.sub(r"^name: .*$", "", path.read_text(), flags=re.MULTILINE)
    command = [compose, "-f", "-", "--project-directory", path.parent, "config"]
    done = subprocess.run(command, input=content, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    resolved, ours = yaml.safe_load(done.stdout), yaml.safe_load(content)
    assert resolved["services"].keys() == ours["services"].keys()
    assert resolved.get("secrets", {}).keys() == ours.get("secrets", {}).keys()


def test_compose_refuses_what_it_does_not_know():
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    wrong = "services: {edge: {image: a, restrat: always}}"
    done = subprocess.run([compose, "-f", "-", "config"], input=wrong, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_grafana_finds_the_dashboard_and_its_source_where_the_compose_file_mounts_them():
    volumes = yaml.safe_load((FLEET / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    mounts = dict(volume.split(":")[:2] for volume in volumes)
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    provider = yaml.safe_load((FLEET / "grafana/provisioning/dashboards/fleet.yaml").read_text())
    assert provider["apiVersion"] == 1
    assert provider["providers"][0]["options"]["path"] == mounts["./grafana/dashboards"]
    source = yaml.safe_load((FLEET / "grafana/provisioning/datasources/database.yaml").read_text())
    assert (source["apiVersion"], source["datasources"][0]["type"]) == (1, "postgres")
    board = json.loads((FLEET / "grafana/dashboards/fleet.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_shipped_broker_configuration_starts_and_serves_devices_by_tls(tmp_path):
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if not openssl or not passwd:
        pytest.skip("openssl and mosquitto_passwd are needed")
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run([passwd, "-b", "-c", tmp_path / "passwords", "gate-1", "secret of gate-1"], check=True)
    shutil.copy(FLEET / "mosquitto" / "acl", tmp_path / "acl")
    port = free_port()
    shipped = (FLEET / "mosquitto" / "mosquitto.conf").read_text()
    for theirs, ours in (("listener 8883", f"listener {port}"), ("listener 1883", f"listener {free_port()}"),
                         ("/mosquitto/config/", f"{tmp_path}/"), ("/mosquitto/certs/", f"{tmp_path}/"),
                         ("/mosquitto/data/", f"{tmp_path}/")):  # fmt: skip
        assert theirs in shipped
        shipped = shipped.replace(theirs, ours)
    broker = Broker(tmp_path / "broker", shipped)
    broker.start()
    try:
        answers, hung_up = [], []

        def begin(client_id):
            client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id)
            client.tls_set(str(certificate))
            client.username_pw_set("gate-1", "secret of gate-1")
            client.on_connect = lambda *arguments: answers.append(arguments[3])
            client.on_disconnect = lambda *arguments: hung_up.append(client_id)
            client.connect("localhost", port)
            client.loop_start()
            return client

        client = begin("gate-1")
        wait_until(lambda: answers)
        assert not answers[0].is_failure
        assert client.publish("edge-social-distancing/gate-1/status", "{}", qos=1).wait_for_publish(5) is None
        client.disconnect()
        client.loop_stop()
        # Who sends what the broker would have to keep until it is released is hung up on.
        hasty = begin("hasty")
        hasty.publish("edge-social-distancing/gate-1/event/door", "{}", qos=2)
        wait_until(lambda: "hasty" in hung_up)
        hasty.disconnect()
        hasty.loop_stop()
        # Without TLS nobody is even answered.
        plain = paho.Client(paho.CallbackAPIVersion.VERSION2)
        plain.on_connect = lambda *arguments: answers.append("plain")
        plain.connect("localhost", port)
        plain.loop_start()
        time.sleep(0.5)
        plain.loop_stop()
        assert "plain" not in answers
    finally:
        broker.kill()


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


def _sql_of(panel):
    """What Grafana asks for the device gate-1 and the last day, in hours."""
    (target,) = panel["targets"]
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 day' AND now()", target["rawSql"])
    sql = re.sub(r"\$__timeGroup\((\w+), \$__interval\)", r"date_trunc('hour', \1)", sql)
    sql = sql.replace("${device:sqlstring}", "'gate-1'")
    assert "$" not in sql, panel["title"]
    return sql


def test_panels_take_minutes_without_metres_for_not_measured(postgres):
    pytest.importorskip("psycopg")
    panels = {p["title"]: p for p in json.loads((FLEET / "grafana/dashboards/fleet.json").read_text())["panels"]}
    hours = ("Exposure by device", "Occupancy by device and camera")
    now_s = time.time()
    without = minute(0, start=int(now_s) - 7200, **WITHOUT_METRES)
    half = [replace(without, uid="m1", minute_utc_s=int(now_s)), minute(2, start=int(now_s))]
    database = FleetDatabase(postgres.url)

    def store(minutes):
        database.store(parse_message(minute_message("gate-1", one).payload.encode()) for one in minutes)

    def shown():
        return [
            database.query(_sql_of(panels["Exposure"])),
            *([r[2] for r in database.query(_sql_of(panels[h]))] for h in hours),
        ]

    try:
        store([without])
        assert shown() == [[(None,)], [None], [None]]
        assert panels["Exposure"]["fieldConfig"]["defaults"]["noValue"] == "not measured"
        store(half)
        assert shown() == [[(20.0,)], [None, 20.0], [None, 1.5]]
    finally:
        database._connection.execute("TRUNCATE minute, device")
        database.close()


def test_every_query_of_the_dashboard_runs_on_the_receivers_tables(postgres):
    pytest.importorskip("psycopg")
    board = json.loads((FLEET / "grafana" / "dashboards" / "fleet.json").read_text())
    source = yaml.safe_load((FLEET / "grafana" / "provisioning" / "datasources" / "database.yaml").read_text())
    database = FleetDatabase(postgres.url)
    database.set_status({"gate-1": True})
    try:
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]
            database.query(_sql_of(panel))
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

"""``python -m edge_app fleet``: the receiver of a fleet's messages, its schema, figures, and simulated devices."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any, Callable, Optional

import click

from edge_app.errors import UserError
from edge_app.masking import keep_out_of_logs, mask_secrets_in_logs, masked
from edge_app.secret import read_secret

_PREFIX = click.option(
    "--prefix", default="edge-social-distancing", show_default=True, help="first level of the topics"
)
_LOOK_S = 0.2
_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


def _broker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--broker", default="127.0.0.1", show_default=True, help="host of the MQTT broker"),
            click.option("--port", type=click.IntRange(1, 65535), default=1883, show_default=True),
            click.option("--username", help="at the broker"),
            click.option("--password", metavar="env:NAME|file:PATH", help="where the broker's password is"),
            click.option("--ca-file", type=click.Path(path_type=Path), help="certificates to trust; switches TLS on"),
        )
    ):
        command = option(command)
    return command


_DATABASE = click.option(
    "--database",
    required=True,
    metavar="env:NAME|file:PATH",
    help="where the address postgresql://… is, for it is secret",
)


@click.group()
def fleet() -> None:
    """Many devices report to one place."""


@fleet.command()
@_broker_options
@_DATABASE
@_PREFIX
def ingest(
    broker: str,
    port: int,
    username: Optional[str],
    password: Optional[str],
    ca_file: Optional[Path],
    database: str,
    prefix: str,
) -> None:
    """Take all devices' messages from the broker into PostgreSQL until told to stop or it fails."""
    from edge_app.fleet.ingest import FleetIngest, IngestOptions  # noqa: PLC0415 - keeps --help quick

    mask_secrets_in_logs()
    secret = _secret(password, "--password") if password else None
    receiver = FleetIngest(
        IngestOptions(
            broker, port, _database_url(database), prefix, username, secret, str(ca_file) if ca_file else None
        )
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    receiver.start()
    while not receiver.ended.is_set():
        if stop.wait(_LOOK_S):
            break
    receiver.stop()
    click.echo(
        f"{receiver.stored} messages stored, {receiver.doubled} came again, {receiver.refused} refused, "
        f"{receiver.held} not taken by the database; reading paused {receiver.pauses} times"
    )
    if receiver.failure is not None:
        raise receiver.failure


@fleet.command()
def schema() -> None:
    """Print the JSON schema of the messages."""
    from edge_app.delivery.messages import message_schema  # noqa: PLC0415 - keeps --help quick

    click.echo(json.dumps(message_schema(), indent=2))


@fleet.command()
@_DATABASE
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True)
@_JSON
def report(database: str, minutes: float, as_json: bool) -> None:
    """Rate, delay and silence of each device over the last minutes."""
    from edge_app.fleet.report import fleet_report, format_report  # noqa: PLC0415 - keeps --help quick

    connection = _open_database(database)
    try:
        rows = fleet_report(connection, 60 * minutes)
    finally:
        connection.close()
    click.echo(json.dumps(rows, indent=2) if as_json else format_report(rows, 60 * minutes))


@fleet.command()
@click.option("--devices", type=click.IntRange(1, 2000), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="for which they send")
@click.option("--events-per-s", type=click.FloatRange(min=0, min_open=True), default=0.5, show_default=True,
              help="of each device")  # fmt: skip
@click.option("--catch-up-s", type=click.FloatRange(min=0), default=120.0, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@_broker_options
@_DATABASE
@_PREFIX
def simulate(
    devices: int,
    seconds: float,
    events_per_s: float,
    catch_up_s: float,
    processes: int,
    broker: str,
    port: int,
    username: Optional[str],
    password: Optional[str],
    ca_file: Optional[Path],
    database: str,
    prefix: str,
) -> None:
    """Let simulated devices send to a running receiver, and report rate, delay and loss."""
    from edge_app.delivery.config import MqttConfig  # noqa: PLC0415 - keeps --help quick
    from edge_app.fleet.simulate import Simulation  # noqa: PLC0415
    from edge_app.fleet.simulate import simulate as run  # noqa: PLC0415

    mqtt = MqttConfig(
        host=broker, port=port, tls=ca_file is not None, ca_file=ca_file, username=username, password=password,
        prefix=prefix,
    )  # fmt: skip
    _open_database(database).close()
    url = _database_url(database)
    click.echo(json.dumps(run(Simulation(devices, seconds, events_per_s, catch_up_s, processes, mqtt, url)), indent=2))


def _secret(reference: str, option: str) -> str:
    if not reference.startswith(("env:", "file:")):
        raise UserError(f"{option} must name where the secret is, env:NAME or file:PATH, and not be the secret itself")
    return read_secret(reference, option)


def _database_url(reference: str) -> str:
    url = _secret(reference, "--database")
    keep_out_of_logs(url.partition("://")[2])
    return url


def _open_database(reference: str) -> Any:
    from edge_app.fleet.database import FleetDatabase, load_psycopg  # noqa: PLC0415 - keeps --help quick

    url = _database_url(reference)
    try:
        return FleetDatabase(url)
    except load_psycopg().Error as error:
        reason = masked(" ".join(str(error).split()))
        raise UserError(f"the database that --database names cannot be used ({reason}); check its address") from error

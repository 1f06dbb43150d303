"""``python -m edge_app storage``: backup, restore, check and export of history."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

import click

_FILE = click.Path(path_type=Path)
_CONFIG = click.option("--config", "config_path", type=_FILE, help="configuration file (YAML) that names the folder")
_CAMERA = click.option("--camera", help="only this one")
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def storage() -> None:
    """Back up, restore, check and export history."""


@storage.command()
@click.argument("target", type=_FILE)
@_CONFIG
def backup(target: Path, config_path: Optional[Path]) -> None:
    """Copy history into the file TARGET; the live program may go on meanwhile."""
    from edge_app.storage.backup import back_up  # noqa: PLC0415 - keeps --help quick

    size = back_up(_database(config_path), target)
    click.echo(f"{target}: {size / 1e6:.1f} MB")


@storage.command()
@click.argument("file", type=_FILE)
@_CONFIG
def restore(file: Path, config_path: Optional[Path]) -> None:
    """Put the backup FILE in the place of history; stop the live program first. The former history is kept."""
    from edge_app.storage.backup import restore as put_back  # noqa: PLC0415 - keeps --help quick

    database = _database(config_path)
    kept = put_back(file, database)
    click.echo(f"{database} restored" + (f"; the former one is {kept}" if kept != database else ""))


@storage.command()
@_CONFIG
@click.option("--file", "file", type=_FILE, help="check this file, such as a backup, instead")
def check(config_path: Optional[Path], file: Optional[Path]) -> None:
    """Check every page of history."""
    from edge_app.storage.backup import check as examine  # noqa: PLC0415 - keeps --help quick

    database = file or _database(config_path)
    found = examine(database)
    counts = ", ".join(f"{count} in {table}" for table, count in found.items() if table != "schema")
    click.echo(f"{database}: intact, schema {found['schema']}, {counts}")


@storage.command()
@click.argument("kind", type=click.Choice(["events", "minutes", "notices", "alerts"]))
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--from", "start", type=_TIME, help="UTC; what starts then or later")
@click.option("--to", "end", type=_TIME, help="UTC; what starts before")
@_CAMERA
@_CONFIG
def export(
    kind: Any,
    form: str,
    start: Optional[datetime],
    end: Optional[datetime],
    camera: Optional[str],
    config_path: Optional[Path],
) -> None:
    """Print history as CSV or JSON."""
    from edge_app.storage.export import COLUMNS, csv_lines, export_rows, json_parts  # noqa: PLC0415
    from edge_app.storage.store import Store, TimeRange  # noqa: PLC0415

    rows = export_rows(Store(_database(config_path)), kind, TimeRange(_utc_s(start), _utc_s(end), camera))
    for part in csv_lines(rows, COLUMNS[kind]) if form == "csv" else json_parts(rows):
        sys.stdout.write(part)


def _database(config_path: Optional[Path]) -> Path:
    from edge_app.config import load_config  # noqa: PLC0415 - keeps --help quick

    return load_config(config_path).storage.path


def _utc_s(moment: Optional[datetime]) -> Optional[float]:
    return None if moment is None else moment.replace(tzinfo=timezone.utc).timestamp()

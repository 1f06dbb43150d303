"""``python -m edge_app storage``: backup, restore, check and export of history."""

from __future__ import annotations

import itertools
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from edge_app.errors import UserError

if TYPE_CHECKING:
    from edge_app.storage.store import Store

# How every SQLite file begins.
_SQLITE = b"SQLite format 3\0"
_FILE = click.Path(path_type=Path)
_CONFIG = click.option("--config", "config_path", type=_FILE, help="configuration file (YAML) that names the folder")
_CAMERA = click.option("--camera", help="only this one")
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def storage() -> None:
    """Back up, restore, check and export history."""


@storage.command()
@click.argument("target", type=_FILE)
@click.option("--force", is_flag=True, help="replace TARGET if it exists")
@_CONFIG
def backup(target: Path, force: bool, config_path: Optional[Path]) -> None:
    """Copy history into the file TARGET; the live program may go on meanwhile."""
    from edge_app.storage.backup import back_up  # noqa: PLC0415 - keeps --help quick

    database = _database(config_path)
    if target.resolve() == database.resolve():
        raise UserError(f"{target} is history itself; give another file for the backup")
    if target.is_file() and not force:
        raise UserError(f"{target} exists already; give another file, or --force to replace it")
    size = back_up(database, target)
    click.echo(f"{target}: {size / 1e6:.1f} MB")


@storage.command()
@click.argument("file", type=_FILE)
@_CONFIG
def restore(file: Path, config_path: Optional[Path]) -> None:
    """Put the backup FILE in the place of history; stop the live program first. The former history is kept."""
    from edge_app.storage.backup import restore as put_back  # noqa: PLC0415 - keeps --help quick

    database = _database(config_path)
    if file.is_file() and not _is_database(file):
        raise UserError(f"{file} is no backup; give a file that 'edge_app storage backup' wrote")
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

    store = Store(_database(config_path))
    rows = export_rows(store, kind, TimeRange(_utc_s(start), _utc_s(end), camera))
    # What cannot be read comes out with the first row: before anything is printed.
    first = list(itertools.islice(rows, 1))
    if not first and camera is not None:
        _check_camera(store, camera)
    all_rows = itertools.chain(first, rows)
    for part in csv_lines(all_rows, COLUMNS[kind]) if form == "csv" else json_parts(all_rows):
        sys.stdout.write(part)


def _check_camera(store: Store, camera: str) -> None:
    """Refuse a camera of which history knows nothing, at any time.

    Raises:
        UserError: history does not know it.
    """
    from edge_app.storage.store import TimeRange  # noqa: PLC0415 - keeps --help quick

    known, of_camera = store.cameras(), TimeRange(None, None, camera)
    if camera not in known and not store.notices(of_camera, 1) and not store.alerts(of_camera, 1):
        raise UserError(f"history knows no camera '{camera}' (known: {', '.join(known) or 'none'}); correct --camera")


def _is_database(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check its permissions") from error


def _database(config_path: Optional[Path]) -> Path:
    from edge_app.config import load_config  # noqa: PLC0415 - keeps --help quick

    return load_config(config_path).storage.path


def _utc_s(moment: Optional[datetime]) -> Optional[float]:
    return None if moment is None else moment.replace(tzinfo=timezone.utc).timestamp()

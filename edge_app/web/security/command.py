"""``python -m edge_app password``: who may log in to the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click

from edge_app.errors import UserError

_CONFIG = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="configuration, which may name the folder"
)
_ROLE = click.option(
    "--role", type=click.Choice(["viewer", "admin"]), default="admin", show_default=True, help="what they may do"
)


@click.group()
def password() -> None:
    """Passwords and API tokens of the dashboard; a running one knows of a change at once."""


@password.command("set")
@click.argument("name", default="admin")
@_ROLE
@_CONFIG
@click.option("--file", "file", type=click.Path(path_type=Path), help="file whose first line is the password")
def set_(name: str, role: Any, config_path: Optional[Path], file: Optional[Path]) -> None:
    """Set the password of NAME (admin, unless given), and make the account if there is none."""
    accounts = _accounts(config_path)
    if file is None:
        given = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt="The same again")
    else:
        given = _first_line(file)
    accounts.set_password(name, given, role)
    click.echo(f"{name} ({role}) may log in; kept in {accounts.path}")


@password.command()
@click.argument("name")
@_ROLE
@_CONFIG
def token(name: str, role: Any, config_path: Optional[Path]) -> None:
    """Make an API token called NAME for a program, and print it this one time."""
    click.echo(_accounts(config_path).make_token(name, role))


@password.command()
@click.argument("name")
@_CONFIG
def remove(name: str, config_path: Optional[Path]) -> None:
    """Remove the account or token NAME."""
    _accounts(config_path).remove(name)
    click.echo(f"{name} removed")


@password.command("list")
@_CONFIG
def list_(config_path: Optional[Path]) -> None:
    """Show accounts and tokens."""
    accounts = _accounts(config_path)
    rows = accounts.listing()
    click.echo("\n".join(f"{kind} {name} ({role})" for kind, name, role in rows) or "nobody; 'password set' adds one")


def _accounts(config_path: Optional[Path]) -> Any:
    from edge_app.config import load_config  # noqa: PLC0415 - keeps --help quick
    from edge_app.web.security.accounts import Accounts  # noqa: PLC0415
    from edge_app.web.state_folder import dashboard_folder  # noqa: PLC0415

    return Accounts(dashboard_folder(load_config(config_path)))


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"password file {file} cannot be read; give a readable UTF-8 file") from error
    if not lines:
        raise UserError(f"password file {file} is empty; write the password into its first line")
    return lines[0]

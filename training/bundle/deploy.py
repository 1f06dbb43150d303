"""Brings a bundle to a device over SSH and installs it there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edge_app.errors import UserError

_HOST = re.compile(r"([A-Za-z0-9._-]+@)?[A-Za-z0-9._:\[\]-]+")
_CONNECT_TIMEOUT_S = 15
_LONGEST_S = 1800


@dataclass(frozen=True)
class Device:
    """Where to install.

    Attributes:
        host: as ssh takes it, ``user@host`` or a name of ssh's configuration.
        command: how the application is started there, as a shell would read it.
        options: further options of ssh, such as ``-p 2222``.
    """

    host: str
    command: str
    options: tuple[str, ...] = ()


def deploy(
    device: Device,
    bundle: Path,
    *,
    trust: Optional[Path] = None,
    restart: Optional[str] = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Copy a bundle to a device, install it, and start the application again.

    The bundle goes over the connection's standard input into the device's installer: no copy is left there, and nothing
    but ssh is needed on it.

    Args:
        device: where.
        bundle: the file.
        trust: public key that the device is to trust first.
        restart: command that starts the application again, such as ``sudo systemctl restart edge-app``.
        say: told what the device prints.

    Raises:
        UserError: the device can't be reached, or refuses the bundle; the model in use there stays.
    """
    if not _HOST.fullmatch(device.host) or device.host.startswith("-"):
        raise UserError(f"{device.host!r} is not a host; write user@host")
    if shutil.which("ssh") is None:
        raise UserError("ssh is not installed; install openssh-client")
    if not bundle.is_file():
        raise UserError(f"bundle {bundle} does not exist; make it with 'training bundle'")
    if trust is not None:
        if not trust.is_file():
            raise UserError(f"key {trust} does not exist; give the .pub file of 'training bundle-key'")
        _on_device(device, f"{device.command} model trust -", trust, say)
    # mktemp gives a file that nobody else can read or put there; it is removed whatever happens.
    steps = (
        f'file="$(mktemp)" && trap \'rm -f "$file"\' EXIT && cat > "$file" && {device.command} model install "$file"'
    )
    _on_device(device, steps, bundle, say)
    if restart is not None:
        _on_device(device, restart, None, say)


def _on_device(device: Device, shell: str, standard_input: Optional[Path], say: Callable[[str], None]) -> None:
    # BatchMode: a question about a password or an unknown host would wait for ever.
    command: Sequence[str] = (
        "ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}", *device.options, "--",
        device.host, f"sh -c {shlex.quote(shell)}",
    )  # fmt: skip
    with open(standard_input or "/dev/null", "rb") as stream:  # noqa: PTH123 - one of two kinds of path
        try:
            done = subprocess.run(
                command, stdin=stream, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{device.host} did not finish within {_LONGEST_S // 60} minutes; look at the device"
            ) from error
    for line in done.stdout.splitlines():
        say(line)
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
    if done.returncode == 255:
        raise UserError(f"{device.host} cannot be reached over ssh ({reason}); try 'ssh {device.host}' by hand")
    raise UserError(f"{device.host} says: {reason}")

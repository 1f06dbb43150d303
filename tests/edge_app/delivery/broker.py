"""A real Mosquitto on loopback, for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

_PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A broker that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *lines: str) -> None:
        if _PROGRAM is None:
            pytest.skip("Mosquitto is not installed (Debian: apt-get install mosquitto)")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        # As root the broker would change to a user who cannot read the test's folder.
        listener = [f"listener {self.port} 127.0.0.1", "user root", "max_queued_messages 0"]
        self._config.write_text("\n".join([*listener, *(lines or ["allow_anonymous true"])]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [str(_PROGRAM), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 10.0
        while True:
            assert self._process.poll() is None, "Mosquitto ended by itself"
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                assert time.monotonic() < deadline_s, "Mosquitto does not listen"
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

"""A real PostgreSQL on loopback, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.edge_app.delivery.broker import free_port


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(folder / name) for folder in folders if (folder / name).exists()), None) or shutil.which(name)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found


class Postgres:
    """A server of its own that can be stopped as in a crash, and started again."""

    def __init__(self) -> None:
        initdb, self._server = _program("initdb"), _program("postgres")
        # PostgreSQL refuses to run as root, and its user cannot look into the tests' folders.
        self._user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="edge-pg-"))
        if self._user:
            shutil.chown(self.folder, "postgres")
        self._data = self.folder / "data"
        self.port = free_port()
        subprocess.run(
            [initdb, "-D", str(self._data), "-A", "trust", "-U", "edge", "--no-sync", "-E", "UTF8", "--locale", "C"],
            check=True, capture_output=True, cwd=self.folder, **self._user,
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://edge@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        import psycopg

        settings = ["fsync=off", f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1"]
        self._process = subprocess.Popen(
            [self._server, "-D", str(self._data), "-p", str(self.port), *(f"-c{setting}" for setting in settings)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder, **self._user,
        )  # fmt: skip
        deadline_s = time.monotonic() + 20.0
        while True:
            assert self._process.poll() is None, "PostgreSQL ended by itself"
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except (OSError, psycopg.OperationalError):
                assert time.monotonic() < deadline_s, "PostgreSQL does not answer"
                time.sleep(0.05)

    def crash(self) -> None:
        """Stop it at once, without finishing anything; it recovers from its log at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

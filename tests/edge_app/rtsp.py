"""A camera for tests: an RTSP server in a process of its own, to be killed, frozen and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def why_not() -> str | None:
    """Return what is missing for a server, or None."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"{SYSTEM_PYTHON} is missing"
    done = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False)
    if done.returncode:
        return "no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
    return None


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspCamera:
    """A camera with user and password on a port that stays the same."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"rtsp://viewer:s3cret@127.0.0.1:{self.port}/cam"
        self._process: subprocess.Popen[str] | None = None

    def start(self, size: tuple[int, int] = (320, 240)) -> None:
        """Switch it on; returns once it serves."""
        arguments = [SYSTEM_PYTHON, str(SERVER), str(self.port), "viewer", "s3cret", *map(str, size)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "serving\n"

    def kill(self) -> None:
        """Pull its plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Let it hang with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

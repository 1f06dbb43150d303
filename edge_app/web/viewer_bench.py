"""What viewers cost: the program with one viewer, with ten, and with one who does not read."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from edge_app.config import SAMPLE, Config, SourceConfig
from edge_app.live.run import LiveSystem
from edge_app.web.dashboard_config import DashboardConfig
from edge_app.web.server import DashboardServer
from edge_app.web.settings import Settings
from edge_app.web.site import CameraView

_SETTLE_S = 3.0
_STALLED = 3
# Reads pictures in a process of its own, whose time is not the program's.
_READER = """
import socket, sys, threading
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def watch():
    with socket.create_connection((host, port)) as one:
        one.sendall(b"GET /live.mjpg HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        while one.recv(65536):
            pass
for _ in range(count):
    threading.Thread(target=watch, daemon=True).start()
sys.stdin.read()
"""


class _Bench:
    """One program that runs all the time, so that what differs between measurements is who looks."""

    def __init__(self, folder: Path, pace: Literal["realtime", "fast"]) -> None:
        source = SourceConfig(uri=str(SAMPLE / "pets_s2l1_excerpt.mp4"), loop=True, pace=pace)
        config = Config(source=source, dashboard=DashboardConfig(port=0, folder=folder))
        self.system = LiveSystem(config)
        views = {
            name: CameraView(name, runner, self.system.pipelines[name], config)
            for name, runner in self.system.runners.items()
        }
        self.view = next(iter(views.values()))
        self.server = DashboardServer(views, Settings(config, None), None)
        self.place = urlsplit(self.server.address)
        self.system.start()
        self.server.start()
        while self.view.image_size is None:
            time.sleep(0.1)

    def measure(self, viewers: int, stalled: int, seconds: float) -> tuple[float, float]:
        """Return processor seconds of this program for each second, and frames analysed a second."""
        with self._reading(viewers), self._stalling(stalled):
            time.sleep(_SETTLE_S)
            started_s, cpu_s, frames = time.monotonic(), time.process_time(), self._frames()
            time.sleep(seconds)
            elapsed_s = time.monotonic() - started_s
            return (time.process_time() - cpu_s) / elapsed_s, (self._frames() - frames) / elapsed_s

    def close(self) -> None:
        """Stop everything."""
        self.server.stop()
        self.system.stop()

    def _frames(self) -> int:
        return int(self.view.runner.state.health()["frames"])

    @contextmanager
    def _reading(self, count: int) -> Iterator[None]:
        command = [sys.executable, "-c", _READER, str(self.place.hostname), str(self.place.port), str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as reader:
            yield
            reader.terminate()

    @contextmanager
    def _stalling(self, count: int) -> Iterator[None]:
        stalled = [socket.create_connection((self.place.hostname, self.place.port)) for _ in range(count)]
        for one in stalled:
            one.sendall(b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield
        for one in stalled:
            one.close()


def run_viewer_bench(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure, the kinds of viewers taking turns, and return medians and their ratios.

    Args:
        rounds: how often each kind has its turn.
        seconds: length of a turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        cpu = _turns(Path(folder), "realtime", {"none": (0, 0), "one": (1, 0), "ten": (10, 0)}, rounds, seconds)
        fps = _turns(Path(folder), "fast", {"one": (1, 0), "stalled": (1, _STALLED)}, rounds, seconds)
    # For each frame, not each second: on a busy machine the program gets fewer frames done, with viewers or without.
    used = {name: 1000 * statistics.median(row[0] / row[1] for row in rows) for name, rows in cpu.items()}
    rate = {name: statistics.median(row[1] for row in rows) for name, rows in fps.items()}
    return {
        "processor_ms_per_frame": {name: round(value, 2) for name, value in used.items()},
        "ten_viewers_against_one": round(used["ten"] / used["one"], 3),
        "frames_per_second": {name: round(value, 2) for name, value in rate.items()},
        "stalled_against_none_stalled": round(
            statistics.median(with_[1] / without[1] for with_, without in zip(fps["stalled"], fps["one"])), 3
        ),
        # Unlike frames a second this says something on a busy machine too.
        "stalled_against_none_stalled_processor": round(
            statistics.median(
                (with_[0] / with_[1]) / (without[0] / without[1]) for with_, without in zip(fps["stalled"], fps["one"])
            ),
            3,
        ),
        "rounds": rounds,
        "seconds": seconds,
    }


def _turns(
    folder: Path, pace: Literal["realtime", "fast"], kinds: dict[str, tuple[int, int]], rounds: int, seconds: float
) -> dict[str, list[tuple[float, float]]]:
    bench = _Bench(folder, pace)
    try:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, (viewers, stalled) in kinds.items():
                found[name].append(bench.measure(viewers, stalled, seconds))
        return found
    finally:
        bench.close()

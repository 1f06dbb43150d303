"""Runs the live pipeline at full speed and breaks something every so often; fails if it leaks or does not recover.

    python -m tests.soak.soak --minutes 30 [--fault-every-s 60]

Cameras: a recording as fast as possible, and an RTSP camera where GStreamer's server is installed. Accelerator: the
child process that would hold an Edge TPU, with the CPU in its place, and the CPU as its fallback. Faults, in turn: the
accelerator's process is killed, it hangs, the RTSP camera is killed, it hangs, it comes back with another picture size,
the disk is full for whoever stores results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_app.accelerator.child_interpreter import ChildInterpreter
from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.capture.backoff import Backoff
from edge_app.config import DEFAULT_MODEL, SAMPLE, ModelConfig, parse_config
from edge_app.detector import TFLiteDetector, load_detector
from edge_app.live.run import LiveSystem
from edge_app.manifest import load_manifest
from edge_app.records import FrameResult, ViolationEvent
from edge_app.sinks import StatusNotice
from tests.edge_app import rtsp

CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
CHILD = (sys.executable, "-m", "tests.soak.cpu_child")
# Growth of memory that is allowed after the warm-up; a short run is not through with its own (kept times, allocator).
MOST_GROWTH, MOST_GROWTH_OF_SHORT = 0.05, 0.15
SHORT_MINUTES = 10.0
# Pauses between attempts grow to half a minute, and a busy machine needs as long again to start a process.
RECOVERY_S = 180.0


class CountingSink:
    """Counts results and notices; raises as a full disk does when told to."""

    def __init__(self) -> None:
        self.results: dict[str, int] = {}
        self.notices: list[StatusNotice] = []
        self.is_full = False

    def accept(self, camera: str, _utc_s: float, _result: FrameResult) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.results[camera] = self.results.get(camera, 0) + 1

    def end(self, _camera: str, _events: tuple[ViolationEvent, ...]) -> None:
        """Results are counted, not events."""

    def notice(self, notice: StatusNotice) -> None:
        self.notices.append(notice)


class ChildAccelerator:
    """Opens the detector in its child process, and knows the process that is there now."""

    def __init__(self) -> None:
        self.interpreter: ChildInterpreter | None = None

    def open(self) -> TFLiteDetector:
        self.interpreter = ChildInterpreter(DEFAULT_MODEL, "", 3.0, CHILD)
        config = ModelConfig(path=DEFAULT_MODEL)
        return TFLiteDetector([self.interpreter], "child", config, load_manifest(DEFAULT_MODEL))

    def send(self, number: int) -> None:
        assert self.interpreter is not None
        self.interpreter._process.send_signal(number)


def _memory_mb() -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024.0


@dataclass
class Sample:
    """What the process uses: memory in MB, threads, open files."""

    memory_mb: float = field(default_factory=_memory_mb)
    threads: int = field(default_factory=threading.active_count)
    files: int = field(default_factory=lambda: len(list(Path("/proc/self/fd").iterdir())))


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[], None]
    is_noticed: Callable[[], bool]
    is_over: Callable[[], bool]


class Soak:
    """The system under test and what can be done to it."""

    def __init__(self) -> None:
        self.sink = CountingSink()
        self.accelerator = ChildAccelerator()
        self.camera = rtsp.RtspCamera() if rtsp.why_not() is None else None
        self.detector = GuardedDetector(
            self.accelerator.open, self.accelerator.open(), load_detector(ModelConfig()), Backoff(1.0, 2.0)
        )
        cameras: dict[str, Any] = {"fast": {"source": {"uri": str(CLIP), "loop": True, "pace": "fast"}}}
        if self.camera is not None:
            self.camera.start()
            cameras["rtsp"] = {"source": {"uri": self.camera.address, "stall_timeout_s": 3}}
        config = parse_config({"cameras": cameras}, "soak", Path.cwd())
        self.system = LiveSystem(config, [self.sink], self.detector)
        self.system.start()

    def faults(self) -> list[Fault]:
        def on_accelerator(name: str, number: int) -> Fault:
            counted = [0, 0]

            def inject() -> None:
                counted[:] = [self.detector.failures, self.detector.reopened]
                self.accelerator.send(number)

            return Fault(
                name,
                inject,
                lambda: self.detector.failures > counted[0],
                lambda: self.detector.reopened > counted[1] and self.detector.in_use == "accelerator",
            )

        found = [
            on_accelerator("accelerator killed", signal.SIGKILL),
            on_accelerator("accelerator hangs", signal.SIGSTOP),
        ]
        camera = self.camera
        if camera is not None:
            feed = self.system.runners["rtsp"]

            def lost() -> bool:
                return bool(feed.state.health()["source"] == "lost")

            def live() -> bool:
                if camera._process is None:
                    camera.start()
                return bool(feed.state.health()["source"] == "live")

            def unfreeze() -> bool:
                camera.kill()
                camera.start()
                return True

            def other_size() -> None:
                camera.kill()
                camera.start((480, 360))

            found += [
                Fault("camera killed", camera.kill, lost, live),
                Fault("camera hangs", camera.freeze, lambda: lost() and unfreeze(), live),
                Fault("camera changes size", other_size, lambda: self._rtsp_rows() == 360, live),
            ]
        found.append(Fault("disk full", self._fill, lambda: self._degraded("fast"), self._free))
        return found

    def stop(self) -> float:
        started_s = time.monotonic()
        self.system.stop()
        took_s = time.monotonic() - started_s
        if self.camera is not None:
            self.camera.kill()
        return took_s

    def _rtsp_rows(self) -> int:
        newest = self.system.runners["rtsp"].state.latest()
        return 0 if newest is None else newest.frame.image.shape[0]

    def _fill(self) -> None:
        self.sink.is_full = True

    def _degraded(self, camera: str) -> bool:
        return any("not stored" in said for said in self.system.runners[camera].state.health()["degraded"])

    def _free(self) -> bool:
        self.sink.is_full = False
        return not self._degraded("fast")


def run_soak(minutes: float, fault_every_s: float, warm_up_s: float) -> dict[str, Any]:
    """Soak, and return what was seen; ``failures`` names what went wrong."""
    soak = Soak()
    failures: list[str] = []
    done: dict[str, int] = {}
    end_s = time.monotonic() + 60 * minutes
    time.sleep(warm_up_s)
    before = after = Sample()
    faults = soak.faults()
    turn = 0
    slowest_s = 0.0
    while time.monotonic() < end_s:
        fault = faults[turn % len(faults)]
        next_s = time.monotonic() + fault_every_s
        seen = dict(soak.sink.results)
        since_s = time.monotonic()
        fault.inject()
        if not _wait(fault.is_noticed) or not _wait(fault.is_over):
            failures.append(f"{fault.name}: not noticed or not recovered from")
        elif not _wait(lambda seen=seen: soak.sink.results.get("fast", 0) > seen.get("fast", 0)):
            failures.append(f"{fault.name}: no results afterwards")
        else:
            done[fault.name] = done.get(fault.name, 0) + 1
            slowest_s = max(slowest_s, time.monotonic() - since_s)
        turn += 1
        if turn == len(faults):
            # Every fault once belongs to the warm-up: each brings code and buffers in that stay.
            before = Sample()
        time.sleep(max(0.0, min(next_s, end_s) - time.monotonic()))
        after = Sample()
    stop_s = soak.stop()
    growth = after.memory_mb / before.memory_mb - 1.0
    allowed = MOST_GROWTH if minutes >= SHORT_MINUTES else MOST_GROWTH_OF_SHORT
    if turn > len(faults) and growth > allowed:
        failures.append(f"memory grew by {100 * growth:.1f} %")
    if after.threads > before.threads + 1 or after.files > before.files + 4:
        failures.append(f"leak: {before} before, {after} after")
    if stop_s > 2.5:
        failures.append(f"stopping took {stop_s:.1f} s")
    return {
        "minutes": minutes,
        "results": soak.sink.results,
        "faults_recovered": done,
        "slowest_recovery_s": round(slowest_s, 1),
        "notices": len(soak.sink.notices),
        "memory_mb": [round(before.memory_mb, 1), round(after.memory_mb, 1)],
        "memory_growth": round(growth, 4),
        "threads": [before.threads, after.threads],
        "open_files": [before.files, after.files],
        "stop_s": round(stop_s, 2),
        "with_rtsp": soak.camera is not None,
        "failures": failures,
    }


def _wait(condition: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + RECOVERY_S
    while time.monotonic() < until_s:
        if condition():
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    """Run from the command line; exit status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--fault-every-s", type=float, default=60.0)
    parser.add_argument("--warm-up-s", type=float, default=20.0)
    options = parser.parse_args()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    result = run_soak(options.minutes, options.fault_every_s, options.warm_up_s)
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["failures"] else 0)


if __name__ == "__main__":
    main()

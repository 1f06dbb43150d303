"""Tells systemd that the process works, as long as it does: one that hangs is killed and started again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping

from edge_app.live.inference_thread import InferenceThread
from edge_app.live.runner import LiveRunner

# A frame that was captured must have become a result after so long; a camera that is away or slow is no reason to
# restart.
_STUCK_S = 30.0


class Watchdog:
    """Sends ``WATCHDOG=1`` at half of systemd's interval while no camera's frames are stuck in the process.

    Outside systemd (no ``NOTIFY_SOCKET``) it does nothing.
    """

    def __init__(self, runners: Mapping[str, LiveRunner], inference: InferenceThread) -> None:
        self._runners = runners
        self._inference = inference
        self._address = os.environ.get("NOTIFY_SOCKET")
        interval_us = os.environ.get("WATCHDOG_USEC", "")
        self._interval_s = int(interval_us) / 2e6 if interval_us.isdigit() and int(interval_us) > 0 else None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Say that the start is over, and begin."""
        self._notify("READY=1")
        if self._address is not None and self._interval_s is not None:
            self._thread.start()

    def stop(self) -> None:
        """Say that the process is about to end."""
        self._stopping.set()
        self._notify("STOPPING=1")

    def is_well(self) -> bool:
        """Tell whether frames that come also get through."""
        for runner in self._runners.values():
            if runner.state.health()["source"] == "live" and runner.waiting_s > _STUCK_S:
                return False
        return True

    def _run(self) -> None:
        assert self._interval_s is not None
        while not self._stopping.wait(self._interval_s):
            if self.is_well():
                self._notify("WATCHDOG=1")

    def _notify(self, message: str) -> None:
        if self._address is None:
            return
        # A leading @ stands for the abstract namespace (sd_notify(3)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(message.encode("ascii"), address)

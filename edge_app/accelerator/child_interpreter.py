"""An interpreter in a child process, which can be killed when it hangs and may die without harm."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge_app.accelerator.child import HEADER

log = logging.getLogger(__name__)

# The runtime is imported, the device's firmware and the model are uploaded: seconds on a Dev Board.
_OPEN_TIMEOUT_S = 30.0
_LARGEST_MESSAGE = 64 * 1024 * 1024
_BLOCK = 1 << 16
# Room in the pipe for a whole picture, so that it is handed over in one call: in between other threads take their turn.
# The number is Linux's, which Python names from 3.10 on.
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


class AcceleratorLost(Exception):
    """The accelerator gives no more answers; the message is a sentence for people."""


class ChildInterpreter:
    """What ``TFLiteDetector`` needs of a TensorFlow Lite interpreter, in another process.

    Attributes:
        deadline_s: an inference that takes longer is given up, and the process is killed.
    """

    def __init__(self, model: Path, device: str, deadline_s: float, command: Optional[Sequence[str]] = None) -> None:
        """Start the process and wait until the model is ready on the device.

        Args:
            model: the compiled model.
            device: ``usb``, ``pci``, with ``:N`` for the N-th, or empty for any.
            deadline_s: seconds that one inference may take.
            command: in place of our own child; for tests.

        Raises:
            AcceleratorLost: it can't be used; the message says why and what to do.
        """
        self.deadline_s = deadline_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        started = command or (sys.executable, "-m", "edge_app.accelerator.child")
        self._process = subprocess.Popen(
            [*started, str(model), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._widen()
        self._received = b""
        ready = json.loads(self._receive(b"R", time.monotonic() + _OPEN_TIMEOUT_S))
        self._inputs = [_detail(index, item) for index, item in enumerate(ready["inputs"])]
        self._outputs = [_detail(index, item) for index, item in enumerate(ready["outputs"])]
        self._tensor = b""
        self._values: list[NDArray[Any]] = []

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return the inputs, as a TensorFlow Lite interpreter does."""
        return self._inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return the outputs, as a TensorFlow Lite interpreter does."""
        return self._outputs

    def set_tensor(self, _index: int, value: NDArray[Any]) -> None:
        """Keep the input."""
        self._tensor = np.ascontiguousarray(value).tobytes()

    def invoke(self) -> None:
        """Run the model.

        Raises:
            AcceleratorLost: it failed, died or did not answer in time. The process is gone then.
        """
        deadline_s = time.monotonic() + self.deadline_s
        self._send(HEADER.pack(b"I", len(self._tensor)) + self._tensor, deadline_s)
        content = self._receive(b"O", deadline_s)
        values, start = [], 0
        for detail in self._outputs:
            count = int(np.prod(detail["shape"]))
            values.append(np.frombuffer(content, detail["dtype"], count, start).reshape(detail["shape"]))
            start += values[-1].nbytes
        self._values = values

    def get_tensor(self, index: int) -> NDArray[Any]:
        """Return an output of the last inference."""
        return self._values[index]

    def close(self) -> None:
        """Kill the process; nothing waits for a device that hangs."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            # It sits in the kernel, in a transfer that does not end; the kernel removes it when that returns.
            return

    def _widen(self) -> None:
        try:
            fcntl.fcntl(self._in, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError as error:
            log.info("pictures go to the accelerator in parts, since its pipe stays small (%s)", error)

    def _send(self, content: bytes, deadline_s: float) -> None:
        view = memoryview(content)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                self._wait(self._in, deadline_s, for_writing=True)
            except BrokenPipeError:
                raise self._lost(self._why_dead()) from None

    def _receive(self, expected: bytes, deadline_s: float) -> bytes:
        kind, length = HEADER.unpack(self._read(HEADER.size, deadline_s))
        if length > _LARGEST_MESSAGE or kind not in (expected, b"E"):
            raise self._lost("the accelerator's process answers nonsense; report this")
        content = self._read(length, deadline_s)
        if kind == b"E":
            raise self._lost(content.decode("utf-8", "replace"))
        return content

    def _read(self, length: int, deadline_s: float) -> bytes:
        while len(self._received) < length:
            self._wait(self._out, deadline_s)
            part = os.read(self._out, _BLOCK)
            if not part:
                raise self._lost(self._why_dead())
            self._received += part
        content, self._received = self._received[:length], self._received[length:]
        return content

    def _wait(self, descriptor: int, deadline_s: float, for_writing: bool = False) -> None:
        left_s = max(0.0, deadline_s - time.monotonic())
        wanted: tuple[list[int], list[int]] = ([], [descriptor]) if for_writing else ([descriptor], [])
        if not any(select.select(*wanted, [], left_s)):
            raise self._lost("the accelerator does not answer in time; if it happens again, check its power and cable")

    def _lost(self, sentence: str) -> AcceleratorLost:
        self.close()
        return AcceleratorLost(sentence)

    def _why_dead(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the accelerator's process closed its connection; report this"
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        lines = [
            line
            for line in self._errors.read().decode("utf-8", "replace").splitlines()
            if line.strip() and not line.startswith("INFO:")
        ]
        said = f", which said: {lines[-1][:200]}" if lines else ""
        if code == -signal.SIGKILL:
            return f"the accelerator's process was killed by SIGKILL: by somebody, or for lack of memory{said}"
        if code < 0:
            return (
                f"the accelerator's process was killed by {_signal_name(-code)}: runtime and libedgetpu do not fit, or "
                f"the driver failed; install tflite-runtime 2.9.1 with Google's libedgetpu 16.0{said}"
            )
        return f"the accelerator's process ended with status {code}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _detail(index: int, item: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = item["quantization"]
    return {
        "index": index,
        "name": item["name"],
        "shape": np.array(item["shape"], np.int64),
        "dtype": np.dtype(item["dtype"]).type,
        "quantization": (scale, zero_point),
    }

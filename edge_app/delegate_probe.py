"""Finds out whether the Edge TPU can be used, in a child process: a library that does not fit kills its process.

``probe_delegate()`` is for the rest of the application; run as a program this module is the child.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Optional

from edge_app.accelerator.library import LIBRARY, Unusable, load_library, load_runtime, misfit, version_of

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class DelegateProbe:
    """What the child found; None where it did not come so far.

    Attributes:
        runtime: package and version of the TensorFlow Lite runtime.
        library: text of the library's version.
        runtime_version: number of the Edge TPU runtime in it, which compiled models ask for.
        devices: number of Edge TPUs that the library sees.
        fault: why the Edge TPU cannot be used, with what to do; None if it can.
    """

    runtime: Optional[str] = None
    library: Optional[str] = None
    runtime_version: Optional[int] = None
    devices: Optional[int] = None
    fault: Optional[str] = None


def probe_delegate(python: str = sys.executable, timeout_s: float = _TIMEOUT_S) -> DelegateProbe:
    """Load library and delegate in a child process and say what happened."""
    try:
        done = subprocess.run(
            [python, "-m", "edge_app.delegate_probe"], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return DelegateProbe(
            fault=f"{LIBRARY} does not answer within {timeout_s:.0f} s; unplug the Edge TPU and plug it in"
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = DelegateProbe(**lines[-1]) if lines else DelegateProbe()
    if done.returncode < 0:
        fault = (
            f"{LIBRARY} kills its process with signal {-done.returncode} under {found.runtime or 'this runtime'}; "
            "install "
            "tflite-runtime 2.9.1 with Python 3.9 (pip install '.[coral]'), or a libedgetpu built for this runtime"
        )
        return DelegateProbe(**{**asdict(found), "fault": fault})
    if done.returncode != 0:
        return DelegateProbe(**{**asdict(found), "fault": f"the probe of {LIBRARY} failed; see 'doctor --json'"})
    return found


def main() -> None:
    """The child: one JSON line after each step, so that the last one is known when the process dies."""
    found: dict[str, Any] = {}

    def say(**values: Any) -> None:
        found.update(values)
        print(json.dumps(found), flush=True)

    try:
        runtime = load_runtime()
        say(runtime=runtime.label)
        library = load_library()
    except Unusable as error:
        say(fault=str(error))
        return
    text = version_of(library)
    number = re.search(r"RuntimeVersion\((\d+)\)", text)
    say(library=text, runtime_version=int(number.group(1)) if number else None, devices=_count_devices(library))
    reason = misfit(text, runtime.label)
    if reason is None:
        try:
            runtime.module.load_delegate(LIBRARY)
        except (ValueError, OSError):
            reason = "no Edge TPU answers; connect it to a USB 3 port or check its driver, and end what else uses it"
    say(fault=reason)


def _count_devices(library: Any) -> Optional[int]:
    """Return how many Edge TPUs the library lists; None if it can't list them."""
    if not hasattr(library, "edgetpu_list_devices"):
        return None
    count = ctypes.c_size_t(0)
    library.edgetpu_list_devices.restype = ctypes.c_void_p
    devices = library.edgetpu_list_devices(ctypes.byref(count))
    if devices and hasattr(library, "edgetpu_free_devices"):
        library.edgetpu_free_devices(ctypes.c_void_p(devices))
    return int(count.value)


if __name__ == "__main__":
    main()

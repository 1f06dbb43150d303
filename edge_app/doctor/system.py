"""The machine itself: disk, memory, clock, temperature, throttling."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from edge_app.doctor.findings import Finding, ok
from edge_app.doctor.kernel_files import read_number, read_text

_MIB = 1 << 20
_DISK_ERROR, _DISK_WARNING = 200 * _MIB, 1024 * _MIB
_MEMORY_WARNING = 200 * _MIB
# The program did not exist before this: 2026-01-01.
_EARLIEST_S = 1_767_225_600
_HOT_CELSIUS = 80.0


def check_disk(folder: Path) -> Finding:
    """Check the space where state and results are kept; the folder need not exist yet."""
    place = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    sentence = f"{free / _MIB / 1024:.1f} GiB are free for {folder}"
    if not os.access(place, os.W_OK):
        return Finding(
            "disk", "error", f"{folder} cannot be written by this user", "set EDGE_APP_STATE to a folder of yours"
        )
    if free < _DISK_ERROR:
        return Finding("disk", "error", sentence, "free space: old results, logs, 'apt-get clean'")
    if free < _DISK_WARNING:
        return Finding("disk", "warning", sentence, "free space soon: old results, logs, 'apt-get clean'")
    return ok("disk", sentence)


def check_memory(root: Path = Path("/")) -> Finding:
    """Check the memory that is available."""
    rows = {}
    for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        rows[name] = int(words[0]) * 1024 if words else 0
    available, total = rows.get("MemAvailable", 0), rows.get("MemTotal", 0)
    sentence = f"{available // _MIB} of {total // _MIB} MiB of memory are available"
    if available < _MEMORY_WARNING:
        return Finding("memory", "warning", sentence, "end other programs, or give the system swap (zram-tools)")
    return ok("memory", sentence)


def check_clock(now_s: Optional[float] = None, root: Path = Path("/")) -> Finding:
    """Check that the clock is not obviously wrong; events are stored with its time."""
    now = time.time() if now_s is None else now_s
    said = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < _EARLIEST_S:
        return Finding(
            "clock",
            "error",
            f"the clock says {said}, which is past",
            "set it, and switch on time synchronisation (sudo timedatectl set-ntp true)",
        )
    synchronised = (root / "run/systemd/timesync/synchronized").exists()
    managed = (root / "run/systemd/system").is_dir()
    if managed and not synchronised and not (root / "run/chrony").is_dir():
        return Finding(
            "clock",
            "warning",
            f"the clock says {said} and is not synchronised",
            "switch on time synchronisation (sudo timedatectl set-ntp true); events carry this time",
        )
    return ok("clock", f"the clock says {said}")


def check_temperature(root: Path = Path("/")) -> Iterator[Finding]:
    """Check the processor's temperature and whether it is held back."""
    values = [read_number(path) for path in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))]
    known = [value / 1000.0 for value in values if value is not None]
    if known and max(known) >= _HOT_CELSIUS:
        yield Finding(
            "temperature", "warning", f"the processor has {max(known):.0f} °C", "cool it: a heat sink, a fan, shade"
        )
    elif known:
        yield ok("temperature", f"the processor has {max(known):.0f} °C")
    frequencies = root / "sys/devices/system/cpu/cpu0/cpufreq"
    allowed, most = read_number(frequencies / "scaling_max_freq"), read_number(frequencies / "cpuinfo_max_freq")
    if allowed is not None and most is not None and allowed < most:
        yield Finding(
            "throttling",
            "warning",
            f"the processor is held to {allowed / 1000:.0f} of {most / 1000:.0f} MHz",
            "cool it, or raise the limit in cpufreq",
        )
    # Raspberry Pi: bit 0 under-voltage now, bit 2 throttled now, bit 16 under-voltage since the start.
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    bits = int(text, 16) if text and all(sign in "0123456789abcdefx" for sign in text.lower()) else 0
    if bits & 0x10001:
        yield Finding(
            "throttling",
            "warning",
            "the power supply is too weak (under-voltage)",
            "use a stronger one and a shorter cable",
        )
    elif bits & 0x4:
        yield Finding("throttling", "warning", "the processor is throttled", "cool it: a heat sink, a fan, shade")

"""What the machine says of itself: load, memory, temperature, disk."""

from __future__ import annotations

import os
import resource
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from edge_app import __version__
from edge_app.accelerator.temperature import read_temperatures
from edge_app.web.site import Site

_THERMAL = Path("/sys/class/thermal")


def system_state(site: Site) -> dict[str, Any]:
    """Return version, time running, load, memory, temperatures, inference, ways out, free disk, size of history."""
    folder = site.security.accounts.path.parent
    return {
        "version": __version__,
        "running_s": round(time.monotonic() - site.started_s),
        "cpus": os.cpu_count() or 1,
        "load_1_min": round(os.getloadavg()[0], 2),
        # Linux counts the peak in KiB.
        "memory_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "temperatures_c": {
            **temperatures_c(_THERMAL),
            **{f"Edge TPU {one.device}": round(one.celsius, 1) for one in read_temperatures()},
        },
        "inference": None if site.inference is None else asdict(site.inference()),
        "delivery": [asdict(way) for way in site.ways_out()],
        "disk_free_mb": round(shutil.disk_usage(folder).free / 1e6),
        "history": None if site.store is None else site.store.statistics(),
    }


def temperatures_c(folder: Path) -> dict[str, float]:
    """Return the temperature of each thermal zone that Linux knows, degrees Celsius."""
    found: dict[str, float] = {}
    for zone in sorted(folder.glob("thermal_zone*")):
        name, value = _line(zone / "type"), _line(zone / "temp")
        if name is not None and value is not None and value.lstrip("-").isdigit():
            found[name] = round(int(value) / 1000, 1)
    return found


def _line(file: Path) -> Optional[str]:
    # A zone whose sensor is asleep can't be read; it is left out.
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return None

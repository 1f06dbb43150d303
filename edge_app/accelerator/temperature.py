"""The accelerator's temperature, where the kernel says it: PCIe and Dev Board, not USB. Not run on hardware yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

APEX = Path("/sys/class/apex")
# At each trip point the driver halves the clock: 500, 250, 125, 62.5 MHz.
_TRIP_POINTS = 3
# A dead device reads about -89.
_COLDEST_C = -40.0


@dataclass(frozen=True)
class Temperature:
    """One device.

    Attributes:
        device: such as ``apex_0``.
        celsius: now.
        clock_divisor: 1 at full speed, 2, 4 or 8 while it is throttled.
    """

    device: str
    celsius: float
    clock_divisor: int


def read_temperatures(root: Path = APEX) -> list[Temperature]:
    """Return all devices that say their temperature."""
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        celsius = _celsius(folder / "temp")
        if celsius is None or celsius < _COLDEST_C:
            continue
        trips = [_celsius(folder / f"trip_point{number}_temp") for number in range(_TRIP_POINTS)]
        passed = sum(1 for trip in trips if trip is not None and celsius >= trip)
        found.append(Temperature(folder.name, celsius, 2**passed))
    return found


def _celsius(path: Path) -> float | None:
    """Read thousandths of a degree; None where there is no such file or no number in it."""
    try:
        return int(path.read_text(encoding="ascii")) / 1000.0
    except (OSError, ValueError):
        return None

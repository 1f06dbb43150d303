"""How the device does."""

from __future__ import annotations

from typing import Any, Optional

from edge_app.config_section import Section
from edge_app.web.api.operation import Operations
from edge_app.web.site import Site
from edge_app.web.system_state import system_state


class HistoryState(Section):
    """What history holds."""

    events: int
    minutes: int
    notices: int
    alerts: int
    oldest_utc_s: Optional[int]
    outbox: int
    size_bytes: int


class Inference(Section):
    """What does the inferences: ``kind`` is Edge TPU, CPU or none; ``problem`` says why an accelerator is away."""

    kind: str
    device: str
    runtime: str
    fallback: str
    problem: Optional[str]
    failures: int
    reopened: int


class Delivery(Section):
    """One way out of messages: ``waiting`` is what its receiver has not confirmed, null where nobody can tell."""

    channel: str
    waiting: Optional[int]
    trouble: Optional[str]


class System(Section):
    """The device and the program; temperatures in degrees Celsius, disk of the folder with the accounts."""

    version: str
    running_s: int
    cpus: int
    load_1_min: float
    memory_peak_mb: int
    temperatures_c: dict[str, float]
    inference: Optional[Inference]
    delivery: tuple[Delivery, ...]
    disk_free_mb: int
    history: Optional[HistoryState]


class LogLines(Section):
    """The newest lines of the log, oldest first."""

    lines: tuple[str, ...]


def add_system(operations: Operations, site: Site) -> None:
    """Add the operations on the device."""

    @operations.add("GET", "/system", "How the device does.", answer=System)
    def system() -> Any:
        return System(**system_state(site))

    @operations.add("GET", "/log", "The newest lines of the log.", answer=LogLines, access="admins")
    def log() -> Any:
        return LogLines(lines=tuple(site.log_tail.lines()))

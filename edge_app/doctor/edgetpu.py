"""The Edge TPU: on the bus, allowed, fast enough, cool enough, and its library fit for the runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edge_app.delegate_probe import DelegateProbe
from edge_app.doctor.findings import Finding, ok
from edge_app.doctor.kernel_files import read_number, read_text

# The stick has the first name until its firmware was loaded at first use, the second one from then on.
_USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
_PCI_ID = ("0x1ac1", "0x089a")
# Mbit/s of a USB 3 port.
_USB_3 = 5000
# What a chip that does not answer reports, about.
_DEAD_CELSIUS = -80.0
_HOT_CELSIUS = 85.0


@dataclass(frozen=True)
class Accelerator:
    """One Edge TPU that the kernel knows: its bus, its device node, and its speed on USB (Mbit/s)."""

    bus: str
    node: Path
    speed: Optional[int] = None


def find_accelerators(root: Path = Path("/")) -> list[Accelerator]:
    """Return the Edge TPUs on USB and PCIe; ``root`` is the root folder, another one in tests."""
    usb = list(_usb(root))
    pci = [Accelerator("PCIe", node) for node in sorted((root / "dev").glob("apex_[0-9]*"))]
    return [*usb, *pci]


def check_devices(
    root: Path = Path("/"),
    may_use: Callable[[Path], bool] = lambda node: os.access(node, os.R_OK | os.W_OK),
) -> list[Finding]:
    """Check presence, permission, speed and temperature of the Edge TPUs."""
    accelerators = find_accelerators(root)
    if not accelerators and _on_pci_bus(root):
        return [
            Finding(
                "edge tpu",
                "error",
                "an Edge TPU is on the PCIe bus but has no driver (no /dev/apex_0)",
                "install gasket-dkms and start again (docs/install.md)",
            )
        ]
    if not accelerators:
        return [
            Finding(
                "edge tpu",
                "note",
                "no Edge TPU is connected; models run on the CPU",
                "to use one, plug it in and give the container its devices (docs/install.md)",
            )
        ]
    findings: list[Finding] = []
    for accelerator in accelerators:
        name = f"Edge TPU on {accelerator.bus} ({accelerator.node})"
        if not may_use(accelerator.node):
            findings.append(_no_permission(name, accelerator))
        elif accelerator.speed is not None and accelerator.speed < _USB_3:
            findings.append(
                Finding(
                    "edge tpu",
                    "warning",
                    f"{name} runs at {accelerator.speed} Mbit/s, USB 2",
                    "use a USB 3 port and the cable that came with it; inference takes several times as long on USB 2",
                )
            )
        else:
            findings.append(ok("edge tpu", f"{name} is there and may be used"))
    return [*findings, *_temperatures(root)]


def check_delegate(probe: DelegateProbe, present: bool, needed: bool) -> list[Finding]:
    """Judge what the probe found.

    Args:
        probe: of library and delegate.
        present: an Edge TPU is connected.
        needed: the configured model is compiled for one.
    """
    if probe.fault is None:
        version = "" if probe.runtime_version is None else f", Edge TPU runtime {probe.runtime_version}"
        return [ok("delegate", f"the Edge TPU answers ({probe.runtime}{version})")]
    sentence, _, fix = probe.fault.partition("; ")
    # Without an accelerator nobody misses its library.
    return [Finding("delegate", "error" if present or needed else "note", sentence, fix)]


def _usb(root: Path) -> Iterator[Accelerator]:
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        if (read_text(device / "idVendor"), read_text(device / "idProduct")) not in _USB_IDS:
            continue
        bus, number = read_number(device / "busnum"), read_number(device / "devnum")
        if bus is not None and number is not None:
            yield Accelerator("USB", root / f"dev/bus/usb/{bus:03d}/{number:03d}", read_number(device / "speed"))


def _on_pci_bus(root: Path) -> bool:
    devices = (root / "sys/bus/pci/devices").glob("*")
    return any((read_text(device / "vendor"), read_text(device / "device")) == _PCI_ID for device in devices)


def _no_permission(name: str, accelerator: Accelerator) -> Finding:
    if not accelerator.node.exists():
        fix = (
            "map its device into the container: -v /dev/bus/usb:/dev/bus/usb or --device /dev/apex_0 (docs/install.md)"
        )
    elif accelerator.bus == "USB":
        fix = "add the udev rule of docs/install.md and the user to group plugdev (sudo usermod -aG plugdev USER)"
    else:
        fix = "add the user to the device's group (sudo usermod -aG apex USER) and log in again"
    return Finding("edge tpu", "error", f"{name} may not be used by this user", fix)


def _temperatures(root: Path) -> Iterator[Finding]:
    for folder in sorted((root / "sys/class/apex").glob("apex_[0-9]*")):
        value = read_number(folder / "temp")
        if value is None:
            continue
        celsius, trip = value / 1000.0, read_number(folder / "trip_point0_temp")
        limit = _HOT_CELSIUS if trip is None else trip / 1000.0
        if celsius < _DEAD_CELSIUS:
            yield Finding(
                "edge tpu temperature",
                "error",
                f"{folder.name} reports {celsius:.0f} °C: the chip does not answer",
                "switch the device off and on; if it stays so, replace it",
            )
        elif celsius >= limit:
            yield Finding(
                "edge tpu temperature",
                "warning",
                f"{folder.name} has {celsius:.0f} °C and slows down from {limit:.0f} °C on",
                "cool it: a heat sink, a fan, shade; or install libedgetpu1-std in place of -max",
            )
        else:
            yield ok("edge tpu temperature", f"{folder.name} has {celsius:.0f} °C, slows down from {limit:.0f} °C on")

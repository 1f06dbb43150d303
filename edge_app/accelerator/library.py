"""The library of the Edge TPU and the TensorFlow Lite runtime that it is loaded into: found, and fit for each other.

Only children load them (``child``, ``delegate_probe``): two that do not fit end their process.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from dataclasses import dataclass
from typing import Any, Optional

LIBRARY = "libedgetpu.so.1"
RUNTIMES = ("tflite_runtime", "ai_edge_litert")
# Google's own build of libedgetpu 16.0 names the compiler it was made with. It passes a structure of TensorFlow Lite
# 2.5 by value; runtimes after 2.9.1 read past its end, and whether that kills the process depends on what lies there.
_STOCK_LIBRARY = "COMPILER=6.3.0 20170516"
_LAST_FOR_STOCK = (2, 9, 1)


class Unusable(Exception):
    """The Edge TPU cannot be used as things are; the message says why and what to do."""


@dataclass(frozen=True)
class Runtime:
    """A TensorFlow Lite runtime: its module ``interpreter``, and package and version, such as tflite_runtime 2.9.1."""

    module: Any
    label: str


def load_runtime() -> Runtime:
    """Import the first runtime that is installed.

    Raises:
        Unusable: there is none.
    """
    for name in RUNTIMES:
        try:
            module = importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue
        version = getattr(importlib.import_module(name), "__version__", "")
        return Runtime(module, f"{name} {version}".strip())
    raise Unusable("no TensorFlow Lite runtime is installed; install one (pip install '.[cpu]' or '.[coral]')")


def load_library() -> ctypes.CDLL:
    """Load libedgetpu.

    Raises:
        Unusable: it, or the libusb that it needs, is not installed.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        missing = "libusb-1.0.so.0" if "libusb" in str(error) else LIBRARY
        package = "libusb-1.0-0" if "libusb" in str(error) else "libedgetpu1-std"
        raise Unusable(f"{missing} is not installed; install the package {package} (docs/install.md)") from error
    library.edgetpu_version.restype = ctypes.c_char_p
    return library


def version_of(library: ctypes.CDLL) -> str:
    """Return the text of the library's version."""
    return str(library.edgetpu_version().decode("ascii", "replace"))


def misfit(library: str, runtime: str) -> Optional[str]:
    """Return why a library and a runtime must not be put together, or None.

    Args:
        library: the library's version text.
        runtime: package and version, such as ``tflite_runtime 2.9.1``.
    """
    package, _, version = runtime.partition(" ")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if _STOCK_LIBRARY not in library or (package == "tflite_runtime" and numbers and numbers <= _LAST_FOR_STOCK):
        return None
    return (
        f"Google's {LIBRARY} crashes with {runtime}; install tflite-runtime 2.9.1 with Python 3.9 (pip install "
        "'.[coral]'), or a libedgetpu built for this runtime"
    )

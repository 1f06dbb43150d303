"""Virtual environments, each with one runtime."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class Runtime:
    """A runtime to try.

    Attributes:
        name: for the report.
        packages: what pip installs.
        pythons: Python versions that it has wheels for, best first.
    """

    name: str
    packages: tuple[str, ...]
    pythons: tuple[str, ...]


# Every tflite-runtime and TensorFlow 2.5 were built for NumPy 1.
RUNTIMES = (
    Runtime("ai-edge-litert", ("ai-edge-litert",), ("3.13", "3.12", "3.11", "3.10")),
    Runtime("tflite-runtime 2.14.0", ("tflite-runtime==2.14.0", "numpy<2"), ("3.11", "3.10", "3.9")),
    Runtime("tflite-runtime 2.9.1", ("tflite-runtime==2.9.1", "numpy<2"), ("3.9", "3.8", "3.7")),
    Runtime("tflite-runtime 2.7.0", ("tflite-runtime==2.7.0", "numpy<2"), ("3.9", "3.8", "3.7")),
    # The interpreter that the Edge TPU compiler 16.0 has inside, as far as its messages show.
    Runtime("TensorFlow 2.5.3", ("tensorflow-cpu==2.5.3", "protobuf<3.21", "numpy<1.20"), ("3.8", "3.7", "3.6")),
)


class Unavailable(Exception):
    """A runtime can't be had on this machine; the message says why."""


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def make_environment(runtime: Runtime, work: Path) -> Path:
    """Return the Python of an environment with a runtime; made once.

    Raises:
        Unavailable: no fitting Python is here, or the package can't be installed.
    """
    folder = work / re.sub(r"[^A-Za-z0-9.]+", "-", runtime.name).lower()
    stamp = folder / ".installed"
    wanted = " ".join(runtime.packages)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python_in(folder)
    python = find_python(runtime.pythons)
    if python is None:
        raise Unavailable(f"no Python {' or '.join(runtime.pythons)} is here")
    shutil.rmtree(folder, ignore_errors=True)
    _run([str(python), "-m", "venv", str(folder)])
    _run([str(python_in(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *runtime.packages])
    stamp.write_text(wanted, encoding="utf-8")
    return python_in(folder)


def find_python(versions: Sequence[str]) -> Optional[Path]:
    """Return the first of some Python versions that the PATH or pyenv has."""
    for version in versions:
        found = shutil.which(f"python{version}")
        candidates = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        for path in [*candidates, *([Path(found)] if found else [])]:
            # pyenv puts a program of that name on the PATH for versions that it does not have.
            if subprocess.run([str(path), "-c", ""], capture_output=True, check=False).returncode == 0:
                return path
    return None


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(lines[-1][:200] if lines else f"{command[0]} ended with status {done.returncode}")

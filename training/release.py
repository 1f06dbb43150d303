"""Writes a model with its manifest."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.errors import UserError
from edge_app.manifest import AnchorSpec, InputSpec, ModelManifest, OutputSpec, manifest_path
from edge_app.preprocess import ResizeMode
from edge_app.records import FloatArray
from training.export.convert import Conversion

_TOOLS = ("tensorflow", "tensorflow-cpu", "keras", "numpy")


def write_model(
    path: Path,
    content: bytes,
    conversion: Conversion,
    *,
    size: tuple[int, int],
    resize: ResizeMode,
    anchors: FloatArray,
    details: dict[str, Any],
    training_data: tuple[str, ...],
    license_name: str,
) -> ModelManifest:
    """Write a ``.tflite`` file and the manifest beside it.

    Args:
        path: of the model.
        content: the model.
        conversion: how it was made.
        size: (width, height) of the input, pixels.
        resize: how frames are fitted to the input.
        anchors: (anchors, 4) that are in the model.
        details: more on the quantisation, JSON values.
        training_data: one sentence on each set that the weights saw.
        license_name: of the weights.

    Raises:
        UserError: the folder cannot be written.
    """
    digest = hashlib.sha256(np.ascontiguousarray(anchors, "<f4").tobytes()).hexdigest()
    manifest = ModelManifest(
        name=path.stem,
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        input=InputSpec(width=size[0], height=size[1], dtype=conversion.input_type, resize=resize),
        outputs=OutputSpec(
            boxes=0,
            classes=1,
            scores=2,
            count=3,
            max_detections=conversion.post_process.max_detections,
            suppressed=conversion.post_process.suppresses,
        ),
        labels=("person",),
        person_class=0,
        anchors=AnchorSpec(count=len(anchors), sha256=digest),
        quantization={"method": conversion.method, "per_channel": conversion.per_channel, **details},
        training_data=training_data,
        commit=_commit(),
        tools=_tools(),
        license=license_name,
    )
    save_model(path, content, manifest)
    return manifest


def save_model(path: Path, content: bytes, manifest: ModelManifest) -> None:
    """Write a model's content and, beside it, its manifest; folders are made.

    Raises:
        UserError: one of the two cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        manifest.write(manifest_path(path))
    except OSError as error:
        name = error.filename or path
        raise UserError(f"model {name} cannot be written ({error.strerror}); give another --out") from error


def _commit() -> str:
    """Return the commit of the checkout that this runs from, empty outside of one."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _tools() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

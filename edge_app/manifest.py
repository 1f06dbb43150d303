"""The model manifest: what a model expects, what it gives and where it comes from. JSON beside the ``.tflite``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.errors import UserError
from edge_app.preprocess import ResizeMode


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class InputSpec(_Strict):
    """How a frame becomes the input tensor: resize, RGB, then ``(pixel - mean) / std`` for float models.

    A uint8 model takes RGB pixels as they are: the same affine map is its quantisation (scale 1/std, zero point mean).
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    dtype: Literal["uint8", "int8", "float32"]
    resize: ResizeMode = "stretch"
    pad_value: int = Field(127, ge=0, le=255)
    mean: float = 127.5
    std: float = Field(127.5, gt=0)


class OutputSpec(_Strict):
    """Position of each output among the interpreter's output tensors.

    ``boxes`` (1, N, 4) normalised ymin, xmin, ymax, xmax; ``classes`` and ``scores`` (1, N); ``count`` (1,).

    Attributes:
        max_detections: N.
        suppressed: the model did non-maximum suppression; else several rows show one person, and the device makes one
            box of them.
    """

    boxes: int
    classes: int
    scores: int
    count: int
    max_detections: int = Field(gt=0)
    suppressed: bool = True


class AnchorSpec(_Strict):
    """The anchors that the post-process operator decodes with."""

    count: int
    sha256: str


class CompiledSpec(_Strict):
    """How an Edge TPU model was compiled, and from what. Compiled files have no signature: the outputs are the twin's.

    Attributes:
        cpu_twin: file name of the model that it was made from.
        cpu_twin_sha256: of that file.
        compiler_version: of ``edgetpu_compiler``.
        min_runtime_version: Edge TPU runtime (libedgetpu) that it needs at least; None if unknown.
        mapped_operators: how many run on the Edge TPU.
        cpu_operators: operator → how many stay on the CPU.
    """

    cpu_twin: str
    cpu_twin_sha256: str
    compiler_version: str = ""
    min_runtime_version: Optional[int] = None
    mapped_operators: int = Field(0, ge=0)
    cpu_operators: dict[str, int] = Field(default_factory=dict)


class ModelManifest(_Strict):
    """Everything that the device and a reader need to know about one model file."""

    manifest_version: Literal[1] = 1
    name: str
    file: str
    sha256: str
    input: InputSpec
    outputs: OutputSpec
    labels: tuple[str, ...]
    person_class: int = Field(0, ge=0)
    anchors: Optional[AnchorSpec] = None
    quantization: dict[str, Any] = Field(default_factory=dict)
    training_data: tuple[str, ...] = ()
    metrics: dict[str, Any] = Field(default_factory=dict)
    commit: str = ""
    tools: dict[str, str] = Field(default_factory=dict)
    license: str = ""
    compiled: Optional[CompiledSpec] = None

    def write(self, path: Path) -> None:
        """Write the manifest as indented JSON."""
        content = self.model_dump(mode="json")
        if self.outputs.suppressed:
            # Devices with an earlier version know no other models, and not the word.
            del content["outputs"]["suppressed"]
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def manifest_path(model_path: Path) -> Path:
    """Return where the manifest of a model file lies: the same name with ``.json``."""
    return model_path.with_suffix(".json")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def load_manifest(model_path: Path) -> Optional[ModelManifest]:
    """Read the manifest beside a model and check the model's hash against it.

    Returns:
        The manifest, or None where the model has none (a third-party model).

    Raises:
        UserError: the manifest is not valid, or the model file is not the one that it describes.
    """
    path = manifest_path(model_path)
    if not path.is_file():
        return None
    try:
        manifest = ModelManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[-1].strip()
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(str(part) for part in first['loc']) or 'file'}: {first['msg']}"
        raise UserError(f"model manifest {path} is not valid ({reason}); restore it together with its model") from error
    actual = sha256_of(model_path)
    if actual != manifest.sha256:
        raise UserError(
            f"model {model_path} has SHA-256 {actual[:12]}… but its manifest says {manifest.sha256[:12]}…; "
            "restore the model and its manifest together"
        )
    return manifest

"""Makes a bundle: model, compiled model, labels, manifests, parity, golden frames, index, signature."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app import __version__
from edge_app.errors import UserError
from edge_app.interpreter import is_compiled_for_edgetpu
from edge_app.manifest import ModelManifest, load_manifest, manifest_path
from edge_app.model_store.bundle import (
    FILE_NAME,
    INDEX,
    MAX_BUNDLE_BYTES,
    MODEL_NAME,
    SIGNATURE,
    BundledFile,
    BundleIndex,
)
from edge_app.model_store.signing import sign
from training.bundle.golden_frames import make_golden_frames

# Oldest version of the device application that reads this form of bundle.
_MIN_APP_VERSION = "0.1.0"
_GOLDEN, _PARITY, _LABELS, _LICENSE = "golden.json", "parity.json", "labels.txt", "LICENSE.txt"
# The same content makes the same file: members carry the oldest time that ZIP knows.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class BundleParts:
    """What goes into a bundle.

    Attributes:
        model: CPU model with its manifest beside it.
        compiled: its compiled twin with a manifest, or None.
        parity: JSON of ``training parity``, or None.
        golden_video: frames of it are golden.
        golden_frames: how many.
        golden_source: where the video is from and its terms; empty for the sample clip.
        released_utc: seconds since 1970.
    """

    model: Path
    compiled: Optional[Path]
    parity: Optional[Path]
    golden_video: Path
    golden_frames: int
    golden_source: str
    released_utc: int


def make_bundle(parts: BundleParts, key: Ed25519PrivateKey, out: Path) -> BundleIndex:
    """Write a signed bundle.

    Raises:
        UserError: something is missing, does not belong together, or cannot be written.
    """
    manifest = _manifest_of(parts.model)
    if parts.compiled is not None:
        _check_twin(parts.compiled, parts.model, manifest)
    _check_names(parts, manifest)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy_model(parts.model, folder)
        if parts.compiled is not None:
            _copy_model(parts.compiled, folder)
        golden = make_golden_frames(parts.model, parts.golden_video, parts.golden_frames, parts.golden_source, folder)
        (folder / _GOLDEN).write_text(golden.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / _LABELS).write_text("\n".join(manifest.labels) + "\n", encoding="utf-8")
        (folder / _LICENSE).write_text(
            f"Weights: {manifest.license or 'not stated'}\nGolden frames: {golden.source}\n", encoding="utf-8"
        )
        if parts.parity is not None:
            (folder / _PARITY).write_text(_parity(parts.parity), encoding="utf-8")
        index = BundleIndex(
            name=manifest.name,
            released_utc=parts.released_utc,
            made_with=__version__,
            min_app_version=_MIN_APP_VERSION,
            model=parts.model.name,
            compiled=None if parts.compiled is None else parts.compiled.name,
            golden=_GOLDEN,
            parity=_PARITY if parts.parity is not None else None,
            files={str(path.relative_to(folder)): _hashed(path) for path in _files(folder)},
        )
        index_bytes = (json.dumps(index.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()
        _write_archive(folder, index_bytes, sign(key, index_bytes), out)
    return index


def _manifest_of(model: Path) -> ModelManifest:
    manifest = load_manifest(model) if model.is_file() else None
    if manifest is None:
        raise UserError(
            f"model {model} or its manifest {manifest_path(model).name} is missing; export it with 'quantize'"
        )
    return manifest


def _check_twin(compiled: Path, model: Path, manifest: ModelManifest) -> None:
    twin = _manifest_of(compiled)
    if not is_compiled_for_edgetpu(compiled.read_bytes()) or twin.compiled is None:
        raise UserError(f"{compiled} is not a model that 'training compile' compiled; give that file")
    if twin.compiled.cpu_twin_sha256 != manifest.sha256:
        raise UserError(f"{compiled.name} was compiled from another model than {model.name}; compile that one")


def _check_names(parts: BundleParts, manifest: ModelManifest) -> None:
    """Refuse names that every device would refuse."""
    allowed = "with letters, digits, '.', '_' and '-' only"
    for model in (parts.model, *([parts.compiled] if parts.compiled is not None else [])):
        if not all(FILE_NAME.fullmatch(path.name) for path in (model, manifest_path(model))):
            raise UserError(
                f"devices take no model file named {model.name!r}; give it and its manifest a name {allowed}"
            )
    if not re.fullmatch(MODEL_NAME, manifest.name):
        raise UserError(
            f"devices take no model named {manifest.name!r}; write a name of at most 80 signs, {allowed}, into "
            f"{manifest_path(parts.model)}"
        )


def _copy_model(model: Path, folder: Path) -> None:
    for path in (model, manifest_path(model)):
        shutil.copyfile(path, folder / path.name)


def _parity(path: Path) -> str:
    try:
        return json.dumps(json.loads(path.read_text(encoding="utf-8"))) + "\n"
    except (OSError, ValueError) as error:
        raise UserError(f"parity summary {path} is not the JSON file of 'training parity'; give that file") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hashed(path: Path) -> BundledFile:
    content = path.read_bytes()
    return BundledFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _write_archive(folder: Path, index: bytes, signature: bytes, out: Path) -> None:
    partial = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "w") as archive:
            members = {INDEX: index, SIGNATURE: signature}
            members |= {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}
            for name, content in members.items():
                info = zipfile.ZipInfo(name, _TIME)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, content, zipfile.ZIP_DEFLATED)
        if partial.stat().st_size > MAX_BUNDLE_BYTES:
            raise UserError(
                f"the bundle is larger than the {MAX_BUNDLE_BYTES >> 20} MiB that devices take; leave out frames"
            )
        partial.replace(out)
    except OSError as error:
        raise UserError(f"bundle {out} cannot be written ({error.strerror}); give another --out") from error
    finally:
        partial.unlink(missing_ok=True)

"""The bundle file: a ZIP archive with a signed index. Whatever is not in the index, or not as it says, is refused.

``bundle.json`` names every file with its size and SHA-256, ``bundle.sig`` signs its bytes. Nothing is unpacked before
the signature and the sizes are right, and every name is checked, so that an archive can neither write elsewhere nor
fill the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.errors import UserError
from edge_app.model_store.signing import PublicKey, check_signature

INDEX, SIGNATURE = "bundle.json", "bundle.sig"
MAX_BUNDLE_BYTES = 128 << 20
MAX_UNPACKED_BYTES = 256 << 20
_MAX_INDEX_BYTES = 256 << 10
_MAX_FILES = 64
_BLOCK = 1 << 20
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
# Letters, digits and a few signs; at most one folder deep, and nothing that starts with a dot.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class BundledFile(_Strict):
    """Size and hash of one file."""

    size: int = Field(ge=0, le=MAX_UNPACKED_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BundleIndex(_Strict):
    """What a bundle holds.

    Attributes:
        format: of this file.
        name: of the model.
        released_utc: seconds since 1970; an older bundle is not installed over a newer one unless told to.
        made_with: version of the program that made it.
        min_app_version: oldest version of the device application that can use it.
        model: the CPU model; its manifest lies beside it.
        compiled: the same for the Edge TPU, or None.
        golden: the file with the expected boxes.
        parity: summary of the accuracy, or None.
        files: path → size and hash, all but index and signature.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=MODEL_NAME)
    released_utc: int = Field(ge=0)
    made_with: str
    min_app_version: str = Field(pattern=r"^\d+(\.\d+){0,3}$")
    model: str
    compiled: Optional[str] = None
    golden: str
    parity: Optional[str] = None
    files: dict[str, BundledFile]

    def named(self) -> list[str]:
        """Return the files that other entries point to."""
        models = [model for model in (self.model, self.compiled) if model is not None]
        manifests = [str(Path(model).with_suffix(".json")) for model in models]
        return [*models, *manifests, self.golden, *([self.parity] if self.parity else [])]


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose signature, names and sizes are right; the hashes are checked while unpacking.

    Attributes:
        index: what is in it.
        index_bytes: the index as it was signed.
        signature_bytes: content of the signature file.
        key: who signed it.
    """

    index: BundleIndex
    index_bytes: bytes
    signature_bytes: bytes
    key: PublicKey
    _archive: zipfile.ZipFile

    @property
    def bundle_id(self) -> str:
        """Name and the first digits of the index's hash: the same content has the same id."""
        return f"{self.index.name}-{hashlib.sha256(self.index_bytes).hexdigest()[:12]}"

    def unpack(self, folder: Path) -> None:
        """Write every file into a new folder, checking size and hash.

        Raises:
            UserError: a file is not the one that was signed, or the disk is full.
        """
        for name, expected in self.index.files.items():
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            digest, size = hashlib.sha256(), 0
            with target.open("xb") as stream:
                for block in self._blocks(name):
                    size += len(block)
                    if size > expected.size:
                        raise UserError(
                            f"{name} in the bundle is larger than the {expected.size} bytes that were signed"
                        )
                    digest.update(block)
                    stream.write(block)
            if size != expected.size or digest.hexdigest() != expected.sha256:
                raise UserError(f"{name} in the bundle is not the file that was signed; get the bundle again")
        (folder / INDEX).write_bytes(self.index_bytes)
        (folder / SIGNATURE).write_bytes(self.signature_bytes)

    def _blocks(self, name: str) -> Iterator[bytes]:
        try:
            with self._archive.open(name) as stream:
                while block := stream.read(_BLOCK):
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"{name} in the bundle is damaged; get the bundle again") from error


@contextmanager
def open_bundle(path: Path, trusted: list[PublicKey]) -> Iterator[OpenBundle]:
    """Open a bundle file and check signature, names and sizes.

    Raises:
        UserError: one sentence on what is wrong with it.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BUNDLE_BYTES:
            raise UserError(
                f"bundle {path} has {size >> 20} MiB, more than the {MAX_BUNDLE_BYTES >> 20} MiB that are allowed"
            )
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise UserError(f"bundle {path} cannot be read ({error.strerror}); check the path") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is not a model bundle, or only a part of one; get it again") from error
    with archive:
        members = _members(archive)
        index_bytes = _small(archive, members, INDEX)
        signature_bytes = _small(archive, members, SIGNATURE)
        # Before anything that the bundle says is believed.
        key = check_signature(signature_bytes, index_bytes, trusted)
        index = read_index(index_bytes)
        _check_members(index, members)
        yield OpenBundle(index, index_bytes, signature_bytes, key, archive)


def read_index(content: bytes) -> BundleIndex:
    """Read an index and check that it is whole.

    Raises:
        UserError: it is not valid.
    """
    try:
        index = BundleIndex.model_validate(json.loads(content))
    except (ValueError, ValidationError, RecursionError) as error:
        raise UserError("the bundle's index is not valid; get a bundle that was made for this version") from error
    missing = [name for name in index.named() if name not in index.files]
    if missing:
        raise UserError(f"the bundle's index names {missing[0]} but does not list it; make the bundle again")
    strange = [name for name in index.files if not FILE_NAME.fullmatch(name)]
    if strange:
        raise UserError(
            f"the bundle's index has a file named {strange[0][:60]!r}; get the bundle again from who made it"
        )
    return index


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise UserError(f"the bundle has {len(infos)} files, more than the {_MAX_FILES} that are allowed")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # A NUL ends the name that zipfile gives; the original shows what was there.
        if info.filename != info.orig_filename or not FILE_NAME.fullmatch(info.filename):
            raise UserError(
                f"the bundle has a file named {info.orig_filename[:60]!r}; get the bundle again from who made it"
            )
        if info.filename in members:
            raise UserError(f"the bundle has {info.filename} twice; get it again")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UserError(f"{info.filename} in the bundle is not a plain file; get the bundle again from who made it")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(
                f"{info.filename} in the bundle is encrypted or packed in another way; get the bundle again"
            )
        members[info.filename] = info
    total = sum(info.file_size for info in infos)
    if total > MAX_UNPACKED_BYTES:
        raise UserError(
            f"the bundle would unpack to {total >> 20} MiB, more than the {MAX_UNPACKED_BYTES >> 20} MiB that are "
            "allowed"
        )
    return members


def _small(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    """Return index or signature; never more than a small file's bytes are unpacked."""
    if name not in members:
        raise UserError(f"the bundle has no {name}; it is not signed, or not a model bundle")
    try:
        with archive.open(name) as stream:
            content = stream.read(_MAX_INDEX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{name} in the bundle is damaged; get the bundle again") from error
    if len(content) > _MAX_INDEX_BYTES:
        raise UserError(
            f"{name} in the bundle is larger than the {_MAX_INDEX_BYTES >> 10} KiB that are allowed; get the bundle "
            "again"
        )
    return content


def _check_members(index: BundleIndex, members: dict[str, zipfile.ZipInfo]) -> None:
    listed = {*index.files, INDEX, SIGNATURE}
    for name in members:
        if name not in listed:
            raise UserError(f"the bundle holds {name}, which was not signed; get it again")
    for name, expected in index.files.items():
        if name not in members:
            raise UserError(f"the bundle lacks {name}; get it again")
        if members[name].file_size != expected.size:
            raise UserError(f"{name} in the bundle does not have the {expected.size} bytes that were signed")

"""Checks an installed bundle again: signature, and the hash of every file."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from edge_app.errors import UserError
from edge_app.manifest import sha256_of
from edge_app.model_store.bundle import INDEX, SIGNATURE, BundleIndex, read_index
from edge_app.model_store.signing import PublicKey, check_signature, read_trusted
from edge_app.model_store.store import ModelStore


def check_unpacked(folder: Path, store: ModelStore) -> PublicKey:
    """Return who signed an installed bundle.

    Raises:
        UserError: a file is missing or changed, or its key is trusted no more.
    """
    try:
        index_bytes, signature = (folder / INDEX).read_bytes(), (folder / SIGNATURE).read_bytes()
        key = check_signature(signature, index_bytes, read_trusted(store.keys))
        changed = _changed(folder, read_index(index_bytes))
    except OSError as error:
        raise UserError(
            f"the installed model {folder.name} is not complete ({error.strerror}); install it again"
        ) from error
    if changed is not None:
        raise UserError(f"{changed} of the installed model {folder.name} was changed; install it again")
    return key


def is_whole(bundle: str, store: ModelStore) -> bool:
    """Whether every file of an installed bundle is there, with the hash that its index says."""
    try:
        return _changed(store.folder_of(bundle), store.index_of(bundle)) is None
    except (OSError, UserError):
        return False


def _changed(folder: Path, index: BundleIndex) -> Optional[str]:
    """Return the first file that is not the one of the index."""
    return next((name for name, file in index.files.items() if sha256_of(folder / name) != file.sha256), None)

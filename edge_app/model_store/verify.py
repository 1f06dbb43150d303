"""Checks an installed bundle again: signature, and the hash of every file."""

from __future__ import annotations

from pathlib import Path

from edge_app.errors import UserError
from edge_app.manifest import sha256_of
from edge_app.model_store.bundle import INDEX, SIGNATURE, read_index
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
        for name, expected in read_index(index_bytes).files.items():
            if sha256_of(folder / name) != expected.sha256:
                raise UserError(f"{name} of the installed model {folder.name} was changed; install it again")
    except OSError as error:
        raise UserError(
            f"the installed model {folder.name} is not complete ({error.strerror}); install it again"
        ) from error
    return key

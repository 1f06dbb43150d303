"""Signing keys of bundles."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge_app.errors import UserError
from edge_app.model_store.signing import PublicKey, public_key_of


def make_key(path: Path, comment: str) -> PublicKey:
    """Make a signing key: the private half at ``path``, for its owner only, and the public half beside it (.pub).

    Raises:
        UserError: a key is there already, or the folder cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    public = public_key_of(private, comment)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made with its final permissions: at no moment can others read it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
        public_path(path).write_text(public.line() + "\n", encoding="utf-8")
    except FileExistsError as error:
        raise UserError(f"key {path} exists already; devices trust it, so give another --out for a new one") from error
    except OSError as error:
        raise UserError(f"key {path} cannot be written ({error.strerror}); give another --out") from error
    return public


def public_path(path: Path) -> Path:
    """Return where the public half of a key lies."""
    return path.with_name(path.name + ".pub")


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a signing key.

    Raises:
        UserError: it is missing, readable for others, or no Ed25519 key.
    """
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise UserError(
            f"signing key {path} cannot be read ({error.strerror}); make one with 'training bundle-key --out {path}'"
        ) from error
    if mode & 0o077:
        raise UserError(f"signing key {path} can be read by others; run 'chmod 600 {path}'")
    try:
        private = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"{path} is not a signing key of 'training bundle-key'; give that file") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UserError(f"{path} is not an Ed25519 key; make one with 'training bundle-key'")
    return private

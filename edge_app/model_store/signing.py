"""Who may give this device a model: Ed25519 keys and signatures."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_app.errors import UserError

_KIND = "edge-app-ed25519"
# A signature is for this purpose and no other.
_PURPOSE = b"edge_app model bundle 1\n"


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with.

    Attributes:
        raw: 32 bytes.
        comment: whose it is, for people.
    """

    raw: bytes
    comment: str

    @property
    def key_id(self) -> str:
        """Short name of the key: the first 16 digits of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def line(self) -> str:
        """Return the key as the one line of a key file."""
        return f"{_KIND} {base64.b64encode(self.raw).decode()} {self.comment}".rstrip()


def public_key_of(private: Ed25519PrivateKey, comment: str) -> PublicKey:
    """Return the public half of a signing key."""
    return PublicKey(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), comment)


def parse_public_key(text: str, name: str) -> PublicKey:
    """Read the line of a key file; ``name`` is used in messages.

    Raises:
        UserError: it is no public key of ours.
    """
    words = text.strip().split(maxsplit=2)
    try:
        raw = base64.b64decode(words[1], validate=True) if len(words) >= 2 and words[0] == _KIND else b""
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise UserError(f"{name} is not a public key ('{_KIND} …'); give the .pub file of 'training bundle-key'")
    return PublicKey(raw, words[2] if len(words) == 3 else "")


def sign(private: Ed25519PrivateKey, index: bytes) -> bytes:
    """Return the content of a bundle's signature file."""
    signature = private.sign(_PURPOSE + index)
    content = {"key": public_key_of(private, "").key_id, "signature": base64.b64encode(signature).decode()}
    return (json.dumps(content) + "\n").encode()


def check_signature(content: bytes, index: bytes, trusted: list[PublicKey]) -> PublicKey:
    """Return the trusted key that signed an index.

    Raises:
        UserError: no key is trusted yet, another one signed, or the index is not the one that was signed.
    """
    if not trusted:
        raise UserError(
            "this device trusts no key yet; run 'model trust KEY.pub' with the key of who makes your models"
        )
    try:
        fields = json.loads(content)
        key_id, signature = str(fields["key"]), base64.b64decode(str(fields["signature"]), validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise UserError("the bundle's signature can't be read; get the bundle again") from error
    key = next((key for key in trusted if key.key_id == key_id), None)
    if key is None:
        raise UserError(
            f"the bundle is signed with key {key_id[:16]!r}, which this device does not trust; get it from who makes "
            "your models, or trust that key with 'model trust'"
        )
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, _PURPOSE + index)
    except InvalidSignature as error:
        raise UserError("the bundle was changed after it was signed; get it again from who made it") from error
    return key


def read_trusted(folder: Path) -> list[PublicKey]:
    """Return the keys of a folder of ``.pub`` files; none where there is no folder.

    Raises:
        UserError: a file in it is no key.
    """
    if not folder.is_dir():
        return []
    keys = []
    for path in sorted(folder.glob("*.pub")):
        try:
            keys.append(parse_public_key(path.read_text(encoding="utf-8"), str(path)))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"key {path} cannot be read; remove it and trust the key again") from error
    return keys

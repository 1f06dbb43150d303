"""Bundles taken apart, changed, and packed again, with a right signature or a wrong one."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.model_store.signing import sign


@dataclass
class Parts:
    """What a bundle is made of.

    Attributes:
        index: as JSON values.
        files: name → content.
        key: signs the index when it is packed.
        extra: (name, content) of members that the index does not list.
    """

    index: dict[str, Any]
    files: dict[str, bytes]
    key: Ed25519PrivateKey
    extra: list[tuple[Any, bytes]] = field(default_factory=list)

    @staticmethod
    def of(path: Path, key: Ed25519PrivateKey) -> Parts:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("bundle.json"))
            return Parts(index, {name: archive.read(name) for name in index["files"]}, key)

    def change(self, name: str, content: bytes) -> None:
        """Put a file in place of another, or in addition, and list it."""
        self.files[name] = content
        self.index["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def pack(self, path: Path, *, index_bytes: bytes | None = None, signature: bytes | None = None) -> Path:
        """Write the bundle; ``index_bytes`` and ``signature`` take the place of the right ones."""
        right = json.dumps(self.index).encode()
        members: list[tuple[Any, bytes]] = [("bundle.json", right if index_bytes is None else index_bytes)]
        signed = sign(self.key, right) if signature is None else signature
        members += [("bundle.sig", signed)] if signed else []
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in [*members, *self.files.items(), *self.extra]:
                archive.writestr(name, content)
        return path

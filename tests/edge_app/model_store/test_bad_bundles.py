from __future__ import annotations

import json
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.errors import UserError
from edge_app.model_store import bundle as bundle_format
from edge_app.model_store.install import install
from edge_app.model_store.signing import sign

MODEL = "pedestrian_ssdlite_mobilenet_v2_320_qat_int8.tflite"


def link(name, kind=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def truncated(parts, path):
    whole = parts.pack(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def changed_in_place(parts, path):
    # The name and size stay, the content does not.
    parts.files[MODEL] = parts.files[MODEL][:-1] + b"X"
    parts.pack(path)


def bomb(parts, path):
    # Says that it unpacks to what was signed, and unpacks to a thousand times as much.
    signed = parts.files["labels.txt"]
    parts.files["labels.txt"] = b"\0" * (30 << 20)
    content = bytearray(parts.pack(path).read_bytes())
    for marker, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = content.find(marker)
        while start >= 0:
            header = 46 if marker == b"PK\x01\x02" else 30
            if content[start + header : start + header + 10] == b"labels.txt":
                content[start + place : start + place + 4] = struct.pack("<I", len(signed))
            start = content.find(marker, start + 4)
    path.write_bytes(content)


BAD = {
    "path escape": (lambda p, f: (p.extra.append(("../../escaped", b"x")), p.pack(f)), "a file named"),
    "absolute path": (lambda p, f: (p.extra.append(("/etc/escaped", b"x")), p.pack(f)), "a file named"),
    "hidden file": (lambda p, f: (p.extra.append((".profile", b"x")), p.pack(f)), "a file named"),
    "escape in the signed index": (lambda p, f: (p.change("a/../../escaped", b"x"), p.pack(f)), "a file named"),
    "symbolic link": (lambda p, f: (p.extra.append((link("golden/link"), b"/etc")), p.pack(f)), "not a plain file"),
    "device node": (lambda p, f: (p.extra.append((link("node", stat.S_IFCHR), b"")), p.pack(f)), "not a plain file"),
    "unsigned addition": (lambda p, f: (p.extra.append(("more.bin", b"x")), p.pack(f)), "was not signed"),
    "a file twice": (lambda p, f: (p.extra.append((MODEL, b"x")), p.pack(f)), "twice"),
    "missing file": (lambda p, f: (p.files.pop("labels.txt"), p.pack(f)), "lacks labels.txt"),
    "wrong hash": (changed_in_place, "not the file that was signed"),
    "other size": (lambda p, f: (p.files.update({"labels.txt": b"person\nx"}), p.pack(f)), "bytes that were signed"),
    "no signature": (lambda p, f: p.pack(f, signature=b""), "has no bundle.sig"),
    "signature of somebody else": (
        lambda p, f: (setattr(p, "key", Ed25519PrivateKey.generate()), p.pack(f)), "does not trust",
    ),
    "changed index": (
        lambda p, f: p.pack(f, index_bytes=json.dumps({**p.index, "released_utc": 9}).encode()),
        "changed after it was signed",
    ),
    "signature for another purpose": (
        lambda p, f: p.pack(f, signature=json.dumps(
            {**json.loads(sign(p.key, b"")), "signature": "QUJD"}).encode()), "changed after it was signed",
    ),
    "nonsense signature": (lambda p, f: p.pack(f, signature=b"[" * 5000), "signature can't be read"),
    "nonsense index": (lambda p, f: p.pack(f, index_bytes=b"[1", signature=sign(p.key, b"[1")), "index is not valid"),
    "unknown field": (lambda p, f: (p.index.update(run="sh"), p.pack(f)), "index is not valid"),
    "later form": (lambda p, f: (p.index.update(format=2), p.pack(f)), "index is not valid"),
    "model that is not listed": (lambda p, f: (p.index.update(model="x.tflite"), p.pack(f)), "does not list it"),
    "needs a newer application": (lambda p, f: (p.index.update(min_app_version="99.0"), p.pack(f)), "update it first"),
    "zip bomb": (bomb, "labels.txt in the bundle"),
    "many files": (lambda p, f: (p.extra.extend((f"f{i}", b"") for i in range(80)), p.pack(f)), "more than the 64"),
    "large index": (lambda p, f: (p.index.update(made_with="x" * 400_000), p.pack(f)), "larger than the 256 KiB"),
    "truncated": (truncated, "only a part of one"),
    "not an archive": (lambda p, f: f.write_bytes(b"#!/bin/sh\nrm -rf /\n"), "not a model bundle"),
    "empty": (lambda p, f: f.write_bytes(b""), "not a model bundle"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_bundle_is_refused_in_one_sentence_and_leaves_nothing(kind, parts, store, tmp_path):
    spoil, said = BAD[kind]
    path = tmp_path / "bad.bundle"
    spoil(parts, path)
    before = sorted(path for path in tmp_path.rglob("*") if "state" not in path.parts)
    with pytest.raises(UserError) as caught:
        install(str(path), store)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*") if "state" not in path.parts) == before
    assert not Path("/etc/escaped").exists()
    assert store.bundles() == []
    assert store.state().current is None
    assert not (store.folder / "incoming").exists()


def test_a_bundle_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(parts, store, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_format, "MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(UserError, match="would unpack to"):
        install(str(parts.pack(tmp_path / "large.bundle")), store)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, store):
    path = tmp_path / "huge.bundle"
    with path.open("wb") as stream:
        stream.truncate(bundle_format.MAX_BUNDLE_BYTES + 1)
    with pytest.raises(UserError, match="more than the 128 MiB"):
        install(str(path), store)


def test_a_device_that_trusts_nobody_takes_nothing(good_bundle, store):
    (store.keys / "test.pub").unlink()
    with pytest.raises(UserError, match=r"trusts no key yet; run 'model trust KEY\.pub'"):
        install(str(good_bundle), store)


def spoil_golden(parts, change):
    golden = json.loads(parts.files["golden.json"])
    change(golden["frames"][0])
    parts.change("golden.json", json.dumps(golden).encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["people"].append([5, 5, 40, 90, 0.8]), "misses a person"),
        (lambda f: f["people"].pop(0), "people too many"),
        (lambda f: f["people"][0].__setitem__(4, 0.31), "instead of 0.31"),
        # With reference kernels nothing differs, so that little is much.
        (lambda f: f["people"][0].__setitem__(4, f["people"][0][4] + 0.01), r"reference kernels\) scores a person"),
        (lambda f: f["people"][0].__setitem__(0, f["people"][0][0] - 1.0), r"reference kernels\) misses a person"),
        (lambda f: f.update(picture="../../etc/passwd"), "not in the bundle"),
        (lambda f: f.update(picture="golden/none.png"), "can't be read"),
        (lambda f: f.update(people="all"), "not valid"),
    ],
)
def test_a_model_that_finds_other_people_here_stays_uninstalled(change, said, parts, store, tmp_path):
    spoil_golden(parts, change)
    with pytest.raises(UserError, match=said):
        install(str(parts.pack(tmp_path / "wrong.bundle")), store)
    assert store.bundles() == []


def test_a_model_that_cannot_be_loaded_stays_uninstalled(parts, store, tmp_path):
    parts.change(MODEL, b"\x1c\0\0\0TFL3" + b"\0" * 400)
    with pytest.raises(UserError, match="its manifest says"):
        install(str(parts.pack(tmp_path / "wrong.bundle")), store)
    assert store.bundles() == []

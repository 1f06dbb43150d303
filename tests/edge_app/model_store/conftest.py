from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.config import DEFAULT_MODEL
from edge_app.model_store.signing import public_key_of
from edge_app.model_store.store import ModelStore
from tests.edge_app.model_store.bundles import Parts
from training.bundle.golden_frames import SAMPLE_CLIP
from training.bundle.make import BundleParts, make_bundle

KEY = Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def good_bundle(tmp_path_factory):
    """A bundle of the released model, with one golden frame, as the training side makes it."""
    path = tmp_path_factory.mktemp("bundles") / "good.bundle"
    make_bundle(BundleParts(DEFAULT_MODEL, None, None, SAMPLE_CLIP, 1, "", 1_000_000), KEY, path)
    return path


@pytest.fixture
def parts(good_bundle):
    """The good bundle's content, to be changed and packed again."""
    return Parts.of(good_bundle, KEY)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store that trusts the tests' key."""
    monkeypatch.setenv("EDGE_APP_STATE", str(tmp_path / "state"))
    made = ModelStore()
    made.keys.mkdir(parents=True)
    (made.keys / "test.pub").write_text(public_key_of(KEY, "tests").line() + "\n")
    return made

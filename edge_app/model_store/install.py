"""Installs a bundle: check, try, switch. Interrupted at any step, the device goes on with the model that it had."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_app import __version__
from edge_app.errors import UserError
from edge_app.model_store.bundle import BundleIndex, OpenBundle, open_bundle
from edge_app.model_store.fetch import fetch, is_address
from edge_app.model_store.self_test import SelfTest, try_bundle
from edge_app.model_store.signing import read_trusted
from edge_app.model_store.store import ModelStore, Slot, StoreState
from edge_app.model_store.verify import is_whole

# The steps in order; each is announced before it is done.
STEPS = ("fetch", "check", "unpack", "try", "keep", "switch", "tidy")


@dataclass(frozen=True)
class Installed:
    """What an installation did.

    Attributes:
        bundle: id of the bundle.
        signed_by: id and comment of the key.
        changed: False if that very bundle was in use already.
        sentences: what the self-test said.
    """

    bundle: str
    signed_by: str
    changed: bool
    sentences: tuple[str, ...]


def install(
    source: str,
    store: ModelStore,
    *,
    allow_older: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Install a bundle from a file or an http(s) address.

    Args:
        source: path or address.
        store: of this device.
        allow_older: accept a bundle that was released before the current one.
        on_step: told each step of ``STEPS`` before it begins.

    Raises:
        UserError: the bundle is refused; the model in use stays.
    """
    with store.lock(), store.staging() as incoming:
        on_step("fetch")
        path = Path(source)
        if is_address(source):
            path = incoming / "bundle"
            fetch(source, path)
        on_step("check")
        with open_bundle(path, read_trusted(store.keys)) as bundle:
            bundle_id, signed_by = bundle.bundle_id, f"{bundle.key.key_id} {bundle.key.comment}".strip()
            state = store.state()
            current_whole = state.current is not None and is_whole(state.current.bundle, store)
            if state.current is not None and state.current.bundle == bundle_id and current_whole:
                return Installed(bundle_id, signed_by, False, ())
            check_fits(bundle.index, store, state, allow_older)
            on_step("unpack")
            unpacked = _unpacked(bundle, incoming)
            index = bundle.index
        on_step("try")
        tested = try_bundle(unpacked, index)
        on_step("keep")
        # The one that was in use before the current one is in place already.
        if state.previous is None or state.previous.bundle != bundle_id or not is_whole(bundle_id, store):
            store.adopt(unpacked, bundle_id)
        on_step("switch")
        slot = Slot(bundle=bundle_id, variant=tested.variant)
        store.change_state(lambda now: _switched(now, slot, is_good=current_whole and not now.on_trial))
        on_step("tidy")
        store.prune()
    return Installed(bundle_id, signed_by, True, tested.sentences)


def verify_file(path: Path, store: ModelStore) -> tuple[BundleIndex, str, SelfTest]:
    """Check a bundle file and try it on this device without installing it.

    Returns:
        Its index, who signed it, and how it did.

    Raises:
        UserError: the bundle would be refused, or there is no space to unpack it.
    """
    with store.lock(), store.staging() as incoming:
        with open_bundle(path, read_trusted(store.keys)) as bundle:
            unpacked = _unpacked(bundle, incoming)
            index, signed_by = bundle.index, f"{bundle.key.key_id} {bundle.key.comment}".strip()
        return index, signed_by, try_bundle(unpacked, index)


def roll_back(store: ModelStore, reason: str) -> StoreState:
    """Go back to the previous model; the model that ships is the last one to go back to.

    Raises:
        UserError: the model that ships is in use.
    """

    def leave(state: StoreState) -> StoreState:
        if state.current is None:
            raise UserError("the model that ships with the application is in use; there is nothing to go back to")
        return state.left(reason, time.time())

    # What is no longer used goes with the next installation: one may be at work now.
    return store.change_state(leave) if store.folder.is_dir() else leave(store.state())


def check_fits(index: BundleIndex, store: ModelStore, state: StoreState, allow_older: bool) -> None:
    """Refuse a bundle that this version can't use, or that is older than the one in use.

    Raises:
        UserError: it does not fit.
    """
    if _numbers(index.min_app_version) > _numbers(__version__):
        raise UserError(
            f"the bundle needs version {index.min_app_version} of this application, which is {__version__}; update it "
            "first"
        )
    if state.current is None or allow_older:
        return
    try:
        current = store.index_of(state.current.bundle)
    except UserError:
        # A damaged model is no reason to keep the next one out.
        return
    if index.name == current.name and index.released_utc < current.released_utc:
        raise UserError(
            "the bundle is older than the model in use; to go back on purpose use 'model rollback' or --allow-older"
        )


def _unpacked(bundle: OpenBundle, incoming: Path) -> Path:
    folder = incoming / "unpacked"
    folder.mkdir()
    try:
        bundle.unpack(folder)
    except OSError as error:
        raise UserError(f"the bundle cannot be unpacked ({error.strerror}); free space on the disk") from error
    return folder


def _switched(state: StoreState, slot: Slot, *, is_good: bool) -> StoreState:
    # A current model that is damaged or on trial is nothing to go back to: the last good one stays the one before it.
    previous = state.current if is_good else state.previous
    return StoreState(current=slot, previous=previous, on_trial=True, failures=state.failures)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())

"""Installed models on disk, and the one file that says which of them is used.

Layout of the folder ``models`` in the state folder::

    state.json          which model is used, which one before it; replaced as a whole, never changed in place
    trusted_keys/*.pub  whose bundles are accepted
    installed/<id>/     unpacked bundles; complete, since each was renamed into place
    incoming/           work of an installation; nothing in it is used
    trial.lock          held by the process whose start is counted

Whatever is interrupted at whatever moment, ``state.json`` is the old one or the new one, and both name complete models.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.errors import UserError
from edge_app.model_store.bundle import INDEX, BundleIndex, read_index
from edge_app.model_store.ownership import handed_over
from edge_app.state_folder import state_folder

log = logging.getLogger(__name__)

Variant = Literal["cpu", "edgetpu"]
_KEPT_FAILURES = 10


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slot(_Strict):
    """A model to use: the bundle's id, and which of its two models fits this device."""

    bundle: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    variant: Variant


class Failure(_Strict):
    """A model that was left again, when (seconds since 1970, UTC) and why."""

    bundle: str
    utc_s: float
    reason: str


class StoreState(_Strict):
    """What ``state.json`` says.

    Attributes:
        current: the model in use; None for the one that ships with the application.
        previous: the last good one; None for the one that ships.
        on_trial: the current model has not proven itself yet.
        starts: ends in disorder since it is on trial; while ``run`` goes on with it, its start is among them.
        failures: models that were left again, newest last.
    """

    format: Literal[1] = 1
    current: Optional[Slot] = None
    previous: Optional[Slot] = None
    on_trial: bool = False
    starts: int = Field(0, ge=0)
    failures: tuple[Failure, ...] = ()

    def left(self, reason: str, utc_s: float) -> StoreState:
        """Return the state after going back to the previous model."""
        failures = self.failures
        if self.current is not None:
            failures = (*failures, Failure(bundle=self.current.bundle, utc_s=utc_s, reason=reason))[-_KEPT_FAILURES:]
        return StoreState(current=self.previous, failures=failures)


class ModelStore:
    """The models of this device.

    Attributes:
        folder: of the store; made when something is installed.
    """

    def __init__(self, folder: Optional[Path] = None) -> None:
        self.folder = folder if folder is not None else state_folder() / "models"
        self.keys = self.folder / "trusted_keys"
        self._installed = self.folder / "installed"
        self._incoming = self.folder / "incoming"
        self._state = self.folder / "state.json"

    def state(self) -> StoreState:
        """Return what is in use.

        Raises:
            UserError: the state file is damaged.
        """
        try:
            return StoreState.model_validate_json(self._state.read_bytes())
        except FileNotFoundError:
            return StoreState()
        except (OSError, ValidationError) as error:
            raise UserError(
                f"{self._state} is damaged; remove it to use the model that ships, then install your model again"
            ) from error

    def write_state(self, state: StoreState) -> None:
        """Replace the state; a crash leaves the old one or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self._state.with_suffix(".new")
        with temporary.open("wb") as stream:
            stream.write((json.dumps(state.model_dump(mode="json"), indent=2) + "\n").encode())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._state)
        _sync_folder(self.folder)

    def change_state(self, change: Callable[[StoreState], StoreState]) -> StoreState:
        """Read the state, change it and write it, while nobody else does; returns the new state.

        The application on trial and an installation may do so at once. Unlike ``lock`` this waits, for milliseconds.

        Raises:
            UserError: the state file is damaged, or the change was refused.
            OSError: the folder cannot be written.
        """
        with (self.folder / "state.lock").open("ab") as stream, handed_over(self.folder):
            fcntl.flock(stream, fcntl.LOCK_EX)
            state = change(self.state())
            self.write_state(state)
        return state

    def hold_trial(self) -> Optional[BinaryIO]:
        """Keep the right to count a start: one process has it, until it closes the file or ends, however that is.

        Returns:
            The open file, or None where another process has the right.

        Raises:
            OSError: the folder cannot be written.
        """
        with handed_over(self.folder):
            stream = (self.folder / "trial.lock").open("ab")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        return stream

    def path_of(self, slot: Slot) -> Path:
        """Return the model file of a slot.

        Raises:
            UserError: the bundle is not installed.
        """
        index = self.index_of(slot.bundle)
        name = index.compiled if slot.variant == "edgetpu" and index.compiled is not None else index.model
        return self.folder_of(slot.bundle) / name

    def folder_of(self, bundle: str) -> Path:
        """Return the folder of an installed bundle."""
        return self._installed / bundle

    def index_of(self, bundle: str) -> BundleIndex:
        """Return the index of an installed bundle.

        Raises:
            UserError: it is not installed, or damaged.
        """
        return read_index_of(self.folder_of(bundle))

    def bundles(self) -> list[str]:
        """Return the ids of all installed bundles."""
        return sorted(path.name for path in self._installed.iterdir()) if self._installed.is_dir() else []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other installations out.

        Raises:
            UserError: the folder cannot be written, or another installation is at work.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stream = (self.folder / "lock").open("ab")
        except OSError as error:
            raise UserError(
                f"models cannot be kept in {self.folder} ({error.strerror}); set EDGE_APP_STATE to a folder of yours"
            ) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError("another installation is at work; wait until it is done") from error
            with self.writing(), handed_over(self.folder):
                yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tell in one sentence that the store cannot be written, where it comes from a command.

        Raises:
            UserError: instead of an OSError.
        """
        try:
            yield
        except OSError as error:
            raise UserError(
                f"models in {self.folder} cannot be written ({error.strerror or error}); free space on its disk, or "
                "run this as the owner of the folder"
            ) from error

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the store's disk; what an interrupted installation left is removed first."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True)
        try:
            yield self._incoming
        finally:
            shutil.rmtree(self._incoming, ignore_errors=True)

    def adopt(self, unpacked: Path, bundle: str) -> None:
        """Move a complete bundle to its place in one step, with its content on the disk."""
        self._installed.mkdir(exist_ok=True)
        target = self.folder_of(bundle)
        if target.exists():
            # Damaged, or from an installation that was interrupted before it switched.
            shutil.rmtree(target)
        _sync_tree(unpacked)
        unpacked.rename(target)
        _sync_folder(self._installed)

    def prune(self) -> list[str]:
        """Remove bundles that are neither current nor previous; returns their ids."""
        state = self.state()
        kept = {slot.bundle for slot in (state.current, state.previous) if slot is not None}
        removed = [bundle for bundle in self.bundles() if bundle not in kept]
        for bundle in removed:
            shutil.rmtree(self.folder_of(bundle), ignore_errors=True)
        return removed


def read_index_of(folder: Path) -> BundleIndex:
    """Return the index of an unpacked bundle.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        return read_index((folder / INDEX).read_bytes())
    except OSError as error:
        raise UserError(f"model {folder.name} is not installed; see 'model list'") from error


def installed_model() -> Optional[Path]:
    """Return the model file that is in use by installation, or None for the one that ships.

    A damaged store is reported in the log, and the model that ships is used: a camera that watches with an older model
    is better than one that does not.
    """
    store = ModelStore()
    try:
        slot = store.state().current
        path = None if slot is None else store.path_of(slot)
    except UserError as error:
        log.error("the installed model is not used: %s", error)
        return None
    if path is not None and not path.is_file():
        log.error("the installed model is not used: %s is missing; install it again", path)
        return None
    return path


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

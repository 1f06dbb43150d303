"""Watches a newly installed model in its first minutes, and goes back to the last good one by itself.

A model is left when it can't be loaded, when it fails on several frames in a row, or when ``run`` dies with it or
analyses end at its faults again and again. It has proven itself after some minutes of frames. All of it is in
``state.json``, so a restart forgets nothing.

``run`` counts its start, and takes it back when it ends in order. Only one process at a time does so: starts that are
counted while none runs are then those that died. An analysis counts none: it may be killed for many reasons.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Optional

from edge_app.config import DEFAULT_MODEL, ModelConfig
from edge_app.detector import Detector
from edge_app.errors import UserError
from edge_app.model_store.store import ModelStore, StoreState

log = logging.getLogger(__name__)

TRIAL_S = 180.0
_FEWEST_FRAMES = 30
_MOST_FAULTS = 3
_MOST_STARTS = 3

Opener = Callable[[ModelConfig], Detector]


def open_watched(
    config: ModelConfig, opener: Opener, store: Optional[ModelStore] = None, *, counts_start: bool = False
) -> Detector:
    """Open the configured model; if it is an installed one on trial, watch it.

    Args:
        config: of the model.
        opener: opens a model.
        store: of this device. Where it cannot be written, the log says so, and the model is used without being watched.
        counts_start: the process goes on until it is told to stop: should it die, that is a sign against the model.
            False for an analysis, which ends at the model's first fault: that fault is counted.

    Raises:
        UserError: the model cannot be opened, and there is no earlier one.
    """
    store = store or ModelStore()
    if not _is_on_trial(config, store):
        return opener(config)
    try:
        chosen, right = _begin(config, store, counts_start)
    except OSError as error:
        _tell_unwritable(store, error)
        return opener(config)
    if chosen is not config:
        return opener(chosen)
    try:
        detector = opener(config)
    except UserError as error:
        return opener(_go_back(config, store, f"it cannot be opened: {error}"))
    return WatchedDetector(detector, config, opener, store, counts_start=counts_start, right=right)


def _begin(config: ModelConfig, store: ModelStore, counts_start: bool) -> tuple[ModelConfig, Optional[BinaryIO]]:
    """Go back to the model before if this one ended too often in disorder, else count the start if it counts.

    Returns:
        The model to use, and the right to count while the start is counted.
    """
    right = store.hold_trial()
    if right is None:
        return config, None
    state = store.state()
    if state.starts >= _MOST_STARTS:
        with right:
            return _go_back(config, store, f"runs or analyses ended {state.starts} times in disorder with it"), None
    if not counts_start:
        right.close()
        return config, None
    store.change_state(lambda now: _counted(now, state, +1))
    return config, right


class WatchedDetector:
    """A detector on trial: passes everything on, counts frames and faults, and changes the model if it must.

    Attributes:
        on_trial: neither proven nor left yet.
    """

    # Faults in a row are counted, so inferences come one after the other.
    at_once = 1

    def __init__(
        self,
        detector: Detector,
        config: ModelConfig,
        opener: Opener,
        store: ModelStore,
        *,
        counts_start: bool = False,
        right: Optional[BinaryIO] = None,
        trial_s: float = TRIAL_S,
    ) -> None:
        """Watch a detector.

        Args:
            detector: of the model on trial.
            config: of the model.
            opener: opens the model before.
            store: of this device.
            counts_start: see ``open_watched``.
            right: open while this process counts its start; None where it does not.
            trial_s: seconds after which the model has proven itself.
        """
        self.on_trial = True
        self._counts_fault, self._right = not counts_start, right
        self._detector: Any = detector
        self._config, self._opener, self._store = config, opener, store
        self._trial_s = trial_s
        self._started_s = time.monotonic()
        self._frames = 0
        self._faults = 0
        self._next: Optional[Any] = None
        if right is not None:
            # An orderly end, Ctrl-C among them, is no sign against the model.
            atexit.register(self._end_in_order)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def preprocess(self, image: Any) -> Any:
        """Prepare a picture; between two is the moment to change the model.

        What is prepared carries the model that it was prepared for: with stages in threads of their own, frames of the
        model before are still on their way.
        """
        if self._next is not None:
            self._detector, self._next = self._next, None
        detector = self._detector
        tensor, geometry = detector.preprocess(image)
        return (detector, tensor), geometry

    def invoke(self, tensor: Any) -> Any:
        """Run the model; outputs carry it on."""
        detector, content = tensor
        with self._counted():
            return detector, detector.invoke(content)

    def decode(self, outputs: Any, geometry: Any) -> Any:
        """Turn outputs into people, and count the frame."""
        detector, content = outputs
        with self._counted():
            people = detector.decode(content, geometry)
        self._faults = 0
        self._count_frame()
        return people

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._count_fault(error)
            raise

    def _count_frame(self) -> None:
        if not self.on_trial:
            return
        self._frames += 1
        if self._frames >= _FEWEST_FRAMES and time.monotonic() - self._started_s >= self._trial_s:
            if self._change(_proven):
                log.info("model %s has proven itself on %d frames", self._detector.name, self._frames)
            self._end_trial()

    def _count_fault(self, error: Exception) -> None:
        if not self.on_trial:
            return
        self._faults += 1
        if self._counts_fault:
            # An analysis ends here.
            self._counts_fault = False
            self._change(lambda now, ours: _counted(now, ours, +1))
        if self._faults >= _MOST_FAULTS:
            if self._still_ours():
                back = _go_back(self._config, self._store, f"it failed on {self._faults} frames in a row: {error}")
                self._next = self._opener(back)
            self._end_trial()

    def _end_in_order(self) -> None:
        # Who ends at a fault of the model does not end in order.
        if self.on_trial and self._faults == 0:
            self._change(lambda now, ours: _counted(now, ours, -1))

    def _end_trial(self) -> None:
        self.on_trial = False
        if self._right is not None:
            self._right.close()

    def _change(self, change: Callable[[StoreState, StoreState], StoreState]) -> bool:
        """Change what the store says of the model, given the state now and ours; returns whether it was."""
        if not self._still_ours():
            return False
        ours = self._store.state()
        try:
            self._store.change_state(lambda now: change(now, ours))
        except OSError as error:
            _tell_unwritable(self._store, error)
            return False
        return True

    def _still_ours(self) -> bool:
        """Whether the model on trial is still the one that was opened here: another may have been installed since."""
        return _is_on_trial(self._config, self._store)


def _counted(now: StoreState, ours: StoreState, step: int) -> StoreState:
    """Count a start, an orderly end or a fault, if the model is still the one that it is about."""
    return now.model_copy(update={"starts": max(0, now.starts + step)}) if now.current == ours.current else now


def _proven(now: StoreState, ours: StoreState) -> StoreState:
    return now.model_copy(update={"on_trial": False, "starts": 0}) if now.current == ours.current else now


def _is_on_trial(config: ModelConfig, store: ModelStore) -> bool:
    try:
        return _has_on_trial(store.state(), config, store)
    except UserError:
        # Whoever chose the model has said so in the log.
        return False


def _has_on_trial(state: StoreState, config: ModelConfig, store: ModelStore) -> bool:
    return state.on_trial and state.current is not None and store.path_of(state.current) == config.path


def _go_back(config: ModelConfig, store: ModelStore, reason: str) -> ModelConfig:
    """Switch to the previous model, if only for this process, and return its configuration."""

    def leave(now: StoreState) -> StoreState:
        # Another process may have left it a moment ago: what is in use then is the last good one.
        return now.left(" ".join(reason.split())[:300], time.time()) if _has_on_trial(now, config, store) else now

    try:
        state = store.change_state(leave)
    except OSError as error:
        _tell_unwritable(store, error)
        state = leave(store.state())
    path = DEFAULT_MODEL if state.current is None else store.path_of(state.current)
    log.error("model %s was left again, back to %s: %s", config.path.parent.name, path.name, reason)
    return config.model_copy(update={"path": path, "device": "auto"})


def _tell_unwritable(store: ModelStore, error: OSError) -> None:
    log.warning(
        "the model on trial cannot be watched, since %s cannot be written (%s); free space on its disk, or give it to "
        "the user that runs this application",
        store.folder,
        error.strerror or error,
    )

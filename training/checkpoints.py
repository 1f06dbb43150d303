"""Checkpoints of a training run: weights, optimiser and step in one move, so that a killed run goes on exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge_app.errors import UserError
from training.train_config import TrainConfig

_WEIGHTS = "checkpoint.weights.h5"
_OPTIMIZER = "optimizer.npz"
_STATE = "state.json"
_KEPT = 2


def save_checkpoint(model: keras.Model, config: TrainConfig, data: str, out: Path, step: int) -> None:
    """Write a checkpoint: a killed run has the old one or the new one, never half of one.

    Args:
        model: compiled, with its optimiser.
        config: of the run.
        data: fingerprint of what is trained on.
        out: folder of the run.
        step: how many steps are done.
    """
    folder = out / "unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model.save_weights(folder / _WEIGHTS)
    arrays: dict[str, Any] = {f"v{index}": np.asarray(value) for index, value in enumerate(model.optimizer.variables)}
    np.savez(folder / _OPTIMIZER, **arrays)
    state = {"step": step, "config": config.model_dump(mode="json"), "data": data}
    (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
    final = out / f"step_{step:07d}"
    shutil.rmtree(final, ignore_errors=True)
    folder.replace(final)
    for old in sorted(out.glob("step_*"))[:-_KEPT]:
        shutil.rmtree(old)


def restore_checkpoint(model: keras.Model, config: TrainConfig, data: str, out: Path) -> int:
    """Go on from the newest checkpoint of this very run; returns how many steps are done.

    Raises:
        UserError: the folder holds a run with another configuration or other data.
    """
    found = sorted(out.glob("step_*"))
    if not found:
        return 0
    state = json.loads((found[-1] / _STATE).read_text(encoding="utf-8"))
    # Through the schema, so that a key which is new since then has its default.
    if TrainConfig.model_validate(state["config"]) != config:
        raise UserError(f"folder {out} holds a run with another configuration; give another --out or remove it")
    # A checkpoint of an earlier version does not say what it was trained on.
    if state.get("data", data) != data:
        raise UserError(f"folder {out} holds a run on other pictures or labels; give another --out or remove it")
    model.load_weights(found[-1] / _WEIGHTS)
    with np.load(found[-1] / _OPTIMIZER, allow_pickle=False) as stored:
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(stored[f"v{index}"])
    return int(state["step"])

"""Training and fine-tuning of the float detector: resumable, in backend-agnostic Keras."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from edge_app.analysis.overlap import Overlapped
from edge_app.errors import UserError
from training.data.augment import Augmentation
from training.data.batches import Batches, BatchOptions
from training.data.pictures import load_examples
from training.importing.weights import load_exportable
from training.model.losses import ssd_loss
from training.model.ssdlite import anchors_of, build_ssdlite
from training.pretrained import DEFAULT_FOLDER, fetch_pretrained
from training.train_config import TrainConfig

_LATEST = "checkpoint.weights.h5"
_STATE = "state.json"


class TrainableDetector(keras.Model):
    """A detector with its loss."""

    def __init__(self, detector: keras.Model, localization_weight: float, classification_weight: float) -> None:
        super().__init__(name="trainable")
        self.detector = detector
        self._weights_of_losses = (localization_weight, classification_weight)
        self._localization = keras.metrics.Mean("localization")
        self._classification = keras.metrics.Mean("classification")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Run the detector."""
        return self.detector(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the weighted sum of both losses."""
        localization, classification = ssd_loss(
            y_pred["box_encodings"], y_pred["class_logits"], y["boxes"], y["person"], y["weight"]
        )
        self._localization.update_state(localization)
        self._classification.update_state(classification)
        return self._weights_of_losses[0] * localization + self._weights_of_losses[1] * classification


@keras.saving.register_keras_serializable("training")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then half a cosine down to zero."""

    def __init__(self, peak: float, warmup_steps: int, steps: int) -> None:
        self.peak, self.warmup_steps, self.steps = peak, warmup_steps, steps

    def __call__(self, step: Any) -> Any:
        now = keras.ops.cast(step, "float32")
        rise = (now + 1.0) / max(1, self.warmup_steps)
        part = (now - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        fall = 0.5 * (1.0 + keras.ops.cos(math.pi * keras.ops.clip(part, 0.0, 1.0)))
        return self.peak * keras.ops.minimum(rise, fall)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "steps": self.steps}


def train(config: TrainConfig, out: Path) -> Path:
    """Train, or go on from the checkpoint in ``out``; returns the Keras model that was written.

    Raises:
        UserError: data or weights cannot be used, or ``out`` holds another run.
    """
    keras.utils.set_random_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    model = _build(config)
    done = _restore(model, config, out)
    sets = [(load_examples(item.labels), item.weight) for item in config.train]
    augmentation = Augmentation(**config.augmentation.model_dump())
    options = BatchOptions(
        config.batch_size, config.image_size, config.seed, config.matched_threshold, config.unmatched_threshold
    )
    anchors = anchors_of(model.detector)
    batches = Batches(sets, anchors, augmentation, options)
    with Overlapped((batches.batch(step) for step in range(done, config.num_steps)), "batches") as items:
        bar = tqdm(items, total=config.num_steps, initial=done, unit="step", desc="training", disable=None)
        for inputs, targets in bar:
            # Not ``fit``, which ends by overwriting the weights with their moving average; that waits for the end.
            losses = model.train_on_batch(inputs, targets, return_dict=True)
            done += 1
            if done % config.save_every_steps == 0 or done == config.num_steps:
                _save(model, config, out, done)
                report = ", ".join(f"{name} {float(value):.3f}" for name, value in losses.items())
                bar.write(f"step {done} of {config.num_steps}: {report}")
                model.reset_metrics()
    if config.optimizer.use_moving_average:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    path = out / "model.keras"
    _unfrozen(model.detector, config.image_size).save(path)
    return path


def _build(config: TrainConfig) -> TrainableDetector:
    source = load_exportable(config.fine_tune_checkpoint or fetch_pretrained(DEFAULT_FOLDER))
    detector = build_ssdlite(height=config.image_size, width=config.image_size)
    detector.set_weights(source.get_weights())
    if config.freeze_batch_norm:
        for layer in detector.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    model = TrainableDetector(detector, config.localization_weight, config.classification_weight)
    average = config.optimizer.use_moving_average
    schedule = WarmupCosine(config.optimizer.learning_rate, config.optimizer.warmup_steps, config.num_steps)
    optimizer = keras.optimizers.Adam(
        schedule, global_clipnorm=config.optimizer.clip_norm, use_ema=average > 0, ema_momentum=average or 0.99
    )
    model.compile(optimizer=optimizer, jit_compile=False)
    model.build((None, config.image_size, config.image_size, 3))
    optimizer.build(model.trainable_variables)
    return model


def _unfrozen(detector: keras.Model, size: int) -> keras.Model:
    """Return a copy with every layer trainable, as a next run expects it."""
    copy = build_ssdlite(height=size, width=size)
    copy.set_weights(detector.get_weights())
    return copy


def _save(model: TrainableDetector, config: TrainConfig, out: Path, done: int) -> None:
    """Write weights, optimiser and step in one move: a killed run has the old checkpoint or the new one."""
    folder = out / "unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model.save_weights(folder / _LATEST)
    arrays = {f"v{index}": np.asarray(variable) for index, variable in enumerate(model.optimizer.variables)}
    np.savez(folder / "optimizer.npz", **arrays)
    state = {"step": done, "config": config.model_dump(mode="json")}
    (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
    final = out / f"step_{done:07d}"
    shutil.rmtree(final, ignore_errors=True)
    folder.replace(final)
    for old in sorted(out.glob("step_*"))[:-2]:
        shutil.rmtree(old)


def _restore(model: TrainableDetector, config: TrainConfig, out: Path) -> int:
    """Go on from the newest checkpoint of this very run; returns how many steps are done."""
    found = sorted(out.glob("step_*"))
    if not found:
        return 0
    state = json.loads((found[-1] / _STATE).read_text(encoding="utf-8"))
    if state["config"] != config.model_dump(mode="json"):
        raise UserError(f"folder {out} holds a run with another configuration; give another --out or remove it")
    model.load_weights(found[-1] / _LATEST)
    with np.load(found[-1] / "optimizer.npz", allow_pickle=False) as stored:
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(stored[f"v{index}"])
    return int(state["step"])

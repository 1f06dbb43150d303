"""Training and fine-tuning of the detector, float or quantisation-aware: resumable, in backend-agnostic Keras."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import keras
import numpy as np
from tqdm import tqdm

from edge_app.errors import UserError
from edge_app.overlapped import Overlapped
from training.checkpoints import restore_checkpoint, save_checkpoint
from training.data.augment import Augmentation, compose
from training.data.batches import Batches, BatchOptions, drawer
from training.data.pictures import Example, fingerprint, load_examples
from training.importing.weights import load_exportable
from training.model.anchors import AnchorGenerator, MapShapes, generate_anchors
from training.model.fit_anchors import coverage, fit_anchors
from training.model.losses import HardExampleMiner
from training.model.ssdlite import (
    alpha_of,
    anchors_of,
    build_ssdlite,
    feature_grid,
    finest_stride_of,
    rebuild,
    shapes_of,
)
from training.model.transfer import copy_weights, transfer_weights
from training.prepare.tfrecord import read_shards
from training.pretrained import DEFAULT_FOLDER, fetch_pretrained
from training.progress import TrainingLog
from training.provenance import write_provenance
from training.quantization.blocks import Precision, quantized_from
from training.quantization.schedule import calibrate, set_phase
from training.train_config import DataSetConfig, TrainConfig
from training.trainable import TrainableDetector, WarmupCosine, zero_point

# Composed pictures that the anchors are fitted to and measured on, and the random streams of what is not training.
_ANCHOR_PICTURES = 200
_ANCHOR_STREAM = 2**32
_CALIBRATION_STREAM = 2**33
# Batch normalisation of layers that the checkpoint does not have.
_NEW_LAYER_MOMENTUM = 0.99

WeightedSets = list[tuple[list[Example], float]]


def train(config: TrainConfig, out: Path) -> Path:
    """Train, or go on from the checkpoint in ``out``; returns the Keras model that was written.

    Raises:
        UserError: data or weights cannot be used, or ``out`` holds another run.
    """
    keras.utils.set_random_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    sets = [(_examples(item), item.weight) for item in config.train]
    with _precision(config), _strategy(config) as strategy:
        model = _build(config, sets)
        data = fingerprint(examples for examples, _ in sets)
        done = restore_checkpoint(model, config, data, out)
        _run(model, config, sets, data, out, done, strategy)
        if config.optimizer.use_moving_average:
            model.optimizer.finalize_variable_values(model.trainable_variables)
    path = out / "model.keras"
    _plain(model.detector, config).save(path)
    write_provenance(path, config, sets)
    return path


def _run(
    model: TrainableDetector, config: TrainConfig, sets: WeightedSets, data: str, out: Path, done: int, strategy: Any
) -> None:
    batches = _batches(config, sets, model.detector, config.seed)
    made = batches.stream(done, config.num_steps, config.workers, config.cached_pictures)
    with Overlapped(made, "batches") as items, TrainingLog(out / "tensorboard") as log:
        bar = tqdm(items, total=config.num_steps, initial=done, unit="step", desc="training", disable=None)
        for inputs, targets in bar:
            _enter_phase(model.detector, config, done)
            # Not ``fit``, which ends by overwriting the weights with their moving average; that waits for the end.
            losses = _step(model, inputs, targets, strategy)
            done += 1
            if done % config.save_every_steps == 0 or done == config.num_steps:
                save_checkpoint(model, config, data, out, done)
                values = {name: float(value) for name, value in losses.items()}
                log.write(done, {**values, "learning_rate": float(model.optimizer.learning_rate)})
                report = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
                bar.write(f"step {done} of {config.num_steps}: {report}")
                model.reset_metrics()


def _step(model: TrainableDetector, inputs: Any, targets: Any, strategy: Any) -> dict[str, Any]:
    """Take one step; with several devices each takes its part of the batch."""
    if strategy is None:
        losses: dict[str, Any] = model.train_on_batch(inputs, targets, return_dict=True)
        return losses
    count = strategy.num_replicas_in_sync

    def part(context: Any) -> Any:
        mine = slice(context.replica_id_in_sync_group, None, count)
        return inputs[mine], {name: value[mine] for name, value in targets.items()}

    model.make_train_function()
    logs = model.train_function(iter([strategy.experimental_distribute_values_from_function(part)]))
    # The step's own return differs between devices; the metrics hold what was seen by all.
    return {**{name: float(value) for name, value in logs.items()}, **model.get_metrics_result()}


def _enter_phase(detector: keras.Model, config: TrainConfig, step: int) -> None:
    """Switch quantisation on after its delay, and freeze the ranges."""
    settings = config.quantization
    if settings is None:
        return
    freeze = settings.freeze_ranges_after
    set_phase(detector, enabled=step >= settings.delay, moving=freeze is None or step < freeze)


def _examples(item: DataSetConfig) -> list[Example]:
    if item.labels is not None:
        found = load_examples(item.labels, item.squeezed)
    else:
        pattern = Path(str(item.input_path))
        paths = sorted(pattern.parent.glob(pattern.name))
        if not paths:
            raise UserError(f"no TFRecord file is named {pattern}; make some with 'prepare' or correct 'input_path'")
        found = [replace(example, squeezed=item.squeezed) for example in read_shards(paths)]
    if not any(len(example.boxes) for example in found):
        raise UserError(f"{item.labels or item.input_path} has no labelled person; there is nothing to learn from")
    return found


def _augmentation(config: TrainConfig) -> Augmentation:
    return Augmentation(**config.augmentation.model_dump())


def _batches(config: TrainConfig, sets: WeightedSets, detector: keras.Model, seed: int) -> Batches:
    options = BatchOptions(
        config.batch_size,
        config.image_size,
        seed,
        config.matched_threshold,
        config.unmatched_threshold,
        zero_point(detector),
    )
    return Batches(sets, anchors_of(detector), _augmentation(config), options)


def _build(config: TrainConfig, sets: WeightedSets) -> TrainableDetector:
    """Build model and optimiser; prints how the anchors cover the people of the training sets."""
    source = load_exportable(config.fine_tune_checkpoint or fetch_pretrained(DEFAULT_FOLDER), config.person_class)
    shapes = _anchors(config, sets, source)
    size, alpha = config.image_size, alpha_of(source)
    detector = build_ssdlite(height=size, width=size, alpha=alpha, finest_stride=config.finest_stride, anchors=shapes)
    new_layers = transfer_weights(source, detector).intersection(
        layer.name for layer in detector.layers if layer.weights
    )
    teacher: Optional[keras.Model] = None
    if config.distillation_weight > 0:
        teacher = rebuild(detector)
        copy_weights(detector, teacher)
        teacher.trainable = False
    if config.quantization is not None:
        detector = _quantized(config, sets, detector)
    _check_names(config, detector)
    if new_layers:
        tqdm.write(
            f"{len(new_layers)} layers have no weights in the checkpoint and start anew: {_shortened(new_layers)}"
        )
    frozen = re.compile("|".join(config.freeze_variables) or "(?!)")
    updated = re.compile("|".join(config.update_trainable_variables))
    for layer in detector.layers:
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        if normalises and layer.name in new_layers:
            # Its statistics have to be found within this run.
            layer.momentum = _NEW_LAYER_MOMENTUM
        elif (
            frozen.search(layer.name) or updated.search(layer.name) is None or (config.freeze_batch_norm and normalises)
        ):
            layer.trainable = False
    stuck = {layer.name for layer in detector.layers if layer.name in new_layers and not layer.trainable}
    if stuck:
        raise UserError(
            f"layers that start anew would stay at random: {_shortened(stuck)}; let 'freeze_variables' and "
            "'update_trainable_variables' leave them to be trained, or set 'finest_stride' as the checkpoint has it"
        )
    if not detector.trainable_variables:
        raise UserError("no layer is left to be trained; correct 'freeze_variables' and 'update_trainable_variables'")
    model = TrainableDetector(
        detector,
        config.localization_weight,
        config.classification_weight,
        teacher,
        config.distillation_weight,
        HardExampleMiner(**config.hard_example_miner.model_dump()),
        by_overlap=config.loss == "overlap",
        by_giou=config.localization_loss == "weighted_giou",
    )
    average = config.optimizer.use_moving_average
    schedule = WarmupCosine(config.optimizer.learning_rate, config.optimizer.warmup_steps, config.num_steps)
    optimizer = keras.optimizers.Adam(
        schedule, global_clipnorm=config.optimizer.clip_norm, use_ema=average > 0, ema_momentum=average or 0.99
    )
    # JAX is only fast where a step is compiled; TensorFlow's graphs gain nothing here.
    model.compile(optimizer=optimizer, jit_compile=keras.backend.backend() == "jax")
    model.build((None, config.image_size, config.image_size, 3))
    model.optimizer.build(model.trainable_variables)
    return model


def _check_names(config: TrainConfig, detector: keras.Model) -> None:
    """Refuse names of layers that are nobody's.

    Raises:
        UserError: a regular expression matches no layer.
    """
    names = [layer.name for layer in detector.layers if layer.weights]
    for key in ("freeze_variables", "update_trainable_variables"):
        for pattern in getattr(config, key):
            if not any(re.search(pattern, name) for name in names):
                raise UserError(
                    f"'{key}': no layer matches {pattern!r}; layers are named as {names[0]} and {names[-1]}"
                )


def _shortened(names: set[str]) -> str:
    """Return the first names of many."""
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


def _anchors(config: TrainConfig, sets: WeightedSets, source: keras.Model) -> tuple[MapShapes, ...]:
    """Return the anchors of a cell of each map, after a report on how they cover the people of the training sets."""
    rng = np.random.default_rng([config.seed, _ANCHOR_STREAM])
    draw, augmentation = drawer(sets, rng), _augmentation(config)
    found = [compose(draw, config.image_size, augmentation, rng)[1] for _ in range(_ANCHOR_PICTURES)]
    boxes = np.concatenate(found)
    grid = feature_grid(
        build_ssdlite(height=config.image_size, width=config.image_size, finest_stride=config.finest_stride)
    )
    settings = config.anchor_generator
    if settings.ssd_anchor_generator is not None:
        shapes = AnchorGenerator(**settings.ssd_anchor_generator.model_dump()).shapes(len(grid))
    elif config.finest_stride == finest_stride_of(source):
        shapes = shapes_of(source)
    else:
        shapes = AnchorGenerator().shapes(len(grid))
    if settings.fit_per_map is not None:
        shapes = fit_anchors(boxes, grid, shapes, settings.fit_per_map)
    tqdm.write(str(coverage(boxes, generate_anchors(shapes, grid), config.matched_threshold)))
    return shapes


def _quantized(config: TrainConfig, sets: WeightedSets, detector: keras.Model) -> keras.Model:
    """Return the quantised network of a float one, its ranges set to what training pictures put out."""
    settings = config.quantization
    assert settings is not None
    precision = Precision(settings.weight_bits, settings.activation_bits, settings.per_channel)
    quantized = quantized_from(detector, precision)
    batches = _batches(config, sets, quantized, config.seed + _CALIBRATION_STREAM)
    calibrate(quantized, (batches.batch(step)[0] for step in range(settings.calibration_batches)))
    return quantized


def _plain(detector: keras.Model, config: TrainConfig) -> keras.Model:
    """Return a copy in float32 with every layer trainable, as a next run expects it."""
    if config.quantization is not None:
        set_phase(detector, enabled=True, moving=False)
        return detector
    copy = rebuild(detector)
    copy_weights(detector, copy)
    return copy


@contextlib.contextmanager
def _precision(config: TrainConfig) -> Iterator[None]:
    """Compute in the configured precision, and leave the process as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _strategy(config: TrainConfig) -> Iterator[Any]:
    """Spread the batch over the devices of the configuration; gives the strategy, None for one device."""
    if not config.devices:
        yield None
    elif keras.backend.backend() == "jax":
        devices = list(config.devices)
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        try:
            yield None
        finally:
            keras.distribution.set_distribution(None)
    else:
        import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

        known = {device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()}
        for device in config.devices:
            if device not in known:
                raise UserError(f"'devices': {device} is not here; this machine has {', '.join(sorted(known))}")
        if config.batch_size % len(config.devices):
            raise UserError(
                f"'batch_size' {config.batch_size} does not divide by {len(config.devices)} devices; change it"
            )
        strategy = tf.distribute.MirroredStrategy(list(config.devices))
        with strategy.scope():
            yield strategy

"""What is optimised: a detector with its losses, and the course of its learning rate."""

from __future__ import annotations

import math
from typing import Any, Optional

import keras
from keras import ops

from training.model.losses import DEFAULT_MINER, HardExampleMiner, distillation_loss, quality_loss, ssd_loss
from training.quantization.blocks import INPUT_ZERO_POINT, is_quantized

# Pixels of a float model are centred on 127.5, those of an integer one on a whole number.
FLOAT_ZERO_POINT = 127.5


class TrainableDetector(keras.Model):
    """A detector with its loss."""

    def __init__(
        self,
        detector: keras.Model,
        localization_weight: float,
        classification_weight: float,
        teacher: Optional[keras.Model] = None,
        distillation_weight: float = 0.0,
        miner: HardExampleMiner = DEFAULT_MINER,
        by_overlap: bool = False,
        by_giou: bool = False,
    ) -> None:
        """Args:
        detector: to be trained, float or quantised.
        localization_weight, classification_weight: of the losses on labels.
        teacher: float detector with the same anchors whose outputs are to be kept; None for labels only.
        distillation_weight: of the difference to the teacher's outputs.
        miner: of negatives.
        by_overlap: learn from ``quality_loss`` instead of ``ssd_loss``; the miner has nothing to do then.
        by_giou: boxes of ``ssd_loss`` are taught by their generalised IoU.
        """
        super().__init__(name="trainable")
        self.detector = detector
        self._loss_weights = (localization_weight, classification_weight, distillation_weight)
        # In a list, so that Keras does not take the teacher's weights for this model's.
        self._teacher = [teacher]
        self._teacher_shift = (zero_point(detector) - FLOAT_ZERO_POINT) / FLOAT_ZERO_POINT
        self._miner = miner
        self._by_overlap = by_overlap
        self._by_giou = by_giou
        names = ["localization", "classification", *(["distillation"] if teacher is not None else [])]
        self._means = [keras.metrics.Mean(name) for name in names]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Run the detector."""
        return self.detector(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the weighted sum of the losses."""
        encodings, logits = (ops.cast(y_pred[name], "float32") for name in ("box_encodings", "class_logits"))
        labels = y["boxes"], y["person"], y["weight"]
        if self._by_overlap:
            losses = list(quality_loss(encodings, logits, *labels))
        else:
            losses = list(ssd_loss(encodings, logits, *labels, self._miner, self._by_giou))
        teacher = self._teacher[0]
        if teacher is not None:
            wanted = teacher(x + self._teacher_shift, training=False)
            losses.append(distillation_loss(encodings, logits, wanted["box_encodings"], wanted["class_logits"]))
        for mean, loss in zip(self._means, losses):
            mean.update_state(loss)
        total = sum(weight * loss for weight, loss in zip(self._loss_weights, losses))
        return total / _replicas()


@keras.saving.register_keras_serializable("training")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then half a cosine down to zero."""

    def __init__(self, peak: float, warmup_steps: int, steps: int) -> None:
        """Rise to ``peak`` in ``warmup_steps`` of ``steps``."""
        self.peak, self.warmup_steps, self.steps = peak, warmup_steps, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step."""
        now = ops.cast(step, "float32")
        rise = (now + 1.0) / max(1, self.warmup_steps)
        part = (now - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        fall = 0.5 * (1.0 + ops.cos(math.pi * ops.clip(part, 0.0, 1.0)))
        return self.peak * ops.minimum(rise, fall)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "steps": self.steps}


def zero_point(detector: keras.Model) -> float:
    """Return the pixel value that a detector takes as zero."""
    return INPUT_ZERO_POINT if is_quantized(detector) else FLOAT_ZERO_POINT


def _replicas() -> int:
    """Return over how many devices the gradients are summed."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

    return int(tf.distribute.get_strategy().num_replicas_in_sync)

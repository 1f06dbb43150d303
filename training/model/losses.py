"""The losses of an SSD: smooth L1 or generalised IoU on boxes, mined cross-entropy on classes; or overlap on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops

from edge_app.box_decoding import SCALES


@dataclass(frozen=True)
class HardExampleMiner:
    """Which negatives count: the hardest ones (the OD API's ``hard_example_miner``).

    Attributes:
        max_negatives_per_positive: for each anchor of a person.
        min_negatives_per_image: at least, in every picture.
    """

    max_negatives_per_positive: float = 3.0
    min_negatives_per_image: float = 3.0


DEFAULT_MINER = HardExampleMiner()
# Exponent of the quality focal loss: 2 in its paper.
_FOCUS = 2.0
# Encoded sizes are kept within this factor of the anchor's (its logarithm), so that a wild start cannot overflow.
_WIDEST_LOG = 4.0
# Score from which a teacher's box is worth keeping, and how much a difference of scores weighs beside one of boxes.
_SURE_SCORE = 0.1
_SCORE_WEIGHT = 4.0


def ssd_loss(
    encodings: Any,
    logits: Any,
    target_boxes: Any,
    person: Any,
    weight: Any,
    miner: HardExampleMiner = HardExampleMiner(),
    by_giou: bool = False,
) -> tuple[Any, Any]:
    """Return the localisation and the classification loss, each a scalar per positive anchor.

    Args:
        encodings: (batch, anchors, 4) predicted.
        logits: (batch, anchors, 2), background and person.
        target_boxes: (batch, anchors, 4).
        person: (batch, anchors), 1 on anchors of a person.
        weight: (batch, anchors), 0 where an anchor teaches nothing.
        miner: of negatives.
        by_giou: teach boxes by their generalised IoU (Rezatofighi et al., CVPR 2019), not by smooth L1.
    """
    positives = ops.maximum(ops.sum(person), 1.0)
    if by_giou:
        off = 1.0 - _overlaps(encodings, target_boxes)[1]
    else:
        off = ops.sum(_smooth_l1(encodings - target_boxes), axis=-1)
    localisation = ops.sum(off * person) / positives
    # Both columns are trained: background to 1 on negatives, person to 1 on positives.
    labels = ops.stack([1.0 - person, person], axis=-1)
    entropy = ops.sum(_sigmoid_cross_entropy(logits, labels), axis=-1) * weight
    chosen = person + _hardest_negatives(entropy, person, weight, miner)
    classification = ops.sum(entropy * ops.stop_gradient(chosen)) / positives
    return localisation, classification


def quality_loss(encodings: Any, logits: Any, target_boxes: Any, person: Any, weight: Any) -> tuple[Any, Any]:
    """Return localisation and classification losses that are about overlap, each a scalar per positive anchor.

    Boxes are taught by their generalised IoU (Rezatofighi et al., CVPR 2019). The score is taught to be the IoU that
    the anchor's own box reaches, and every anchor counts by how far its score is off (the quality focal loss of Li et
    al., "Generalized Focal Loss", NeurIPS 2020): of several boxes on one person the tightest gets the highest score,
    and no negative is left out.

    Args:
        encodings, logits, target_boxes, person, weight: as in ``ssd_loss``.
    """
    positives = ops.maximum(ops.sum(person), 1.0)
    iou, generalised = _overlaps(encodings, target_boxes)
    localisation = ops.sum((1.0 - generalised) * person) / positives
    quality = ops.stop_gradient(iou) * person
    labels = ops.stack([1.0 - quality, quality], axis=-1)
    distance = ops.abs(labels - ops.sigmoid(logits))
    entropy = ops.sum(distance**_FOCUS * _sigmoid_cross_entropy(logits, labels), axis=-1)
    classification = ops.sum(entropy * weight) / positives
    return localisation, classification


def _overlaps(encodings: Any, others: Any) -> tuple[Any, Any]:
    """Return IoU and generalised IoU of encoded boxes of the same anchors, (batch, anchors) each.

    In units of the anchor, as neither changes when an axis is stretched.
    """
    low, high = _corners(encodings)
    other_low, other_high = _corners(others)
    area, other_area = ops.prod(high - low, axis=-1), ops.prod(other_high - other_low, axis=-1)
    shared = ops.minimum(high, other_high) - ops.maximum(low, other_low)
    shared = ops.prod(ops.maximum(shared, 0.0), axis=-1)
    union = area + other_area - shared
    hull = ops.prod(ops.maximum(high, other_high) - ops.minimum(low, other_low), axis=-1)
    iou = shared / union
    return iou, iou - (hull - union) / hull


def _corners(encodings: Any) -> tuple[Any, Any]:
    y, x, height, width = (encodings[..., index] / SCALES[index] for index in range(4))
    centre = ops.stack([y, x], axis=-1)
    half = 0.5 * ops.exp(ops.clip(ops.stack([height, width], axis=-1), -_WIDEST_LOG, _WIDEST_LOG))
    return centre - half, centre + half


def _smooth_l1(difference: Any) -> Any:
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * size * size, size - 0.5)


def _sigmoid_cross_entropy(logits: Any, labels: Any) -> Any:
    return ops.maximum(logits, 0.0) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits)))


def _hardest_negatives(entropy: Any, person: Any, weight: Any, miner: HardExampleMiner) -> Any:
    """Return (batch, anchors), 1 on the negatives with the largest loss of each picture."""
    negative_loss = ops.where((person < 0.5) & (weight > 0.5), entropy, -1.0)
    rank = ops.argsort(ops.argsort(-negative_loss, axis=1), axis=1)
    wanted = miner.max_negatives_per_positive * ops.sum(person, axis=1, keepdims=True)
    wanted = ops.maximum(wanted, miner.min_negatives_per_image)
    hard = (ops.cast(rank, "float32") < wanted) & (negative_loss >= 0.0)
    return ops.cast(hard, "float32")


def distillation_loss(encodings: Any, logits: Any, wanted_encodings: Any, wanted_logits: Any) -> Any:
    """Return how far outputs are from a teacher's, per person that the teacher sees.

    Scores are compared as probabilities: between two that are both near zero, as on nearly all of the anchors, a
    difference of logits says nothing. Boxes count where the teacher sees somebody.

    Args:
        encodings, wanted_encodings: (batch, anchors, 4), of the student and of the teacher.
        logits, wanted_logits: (batch, anchors, 2).
    """
    wanted = ops.sigmoid(wanted_logits[..., 1])
    sure = ops.where(wanted > _SURE_SCORE, wanted, 0.0)
    people = ops.maximum(ops.sum(sure), 1.0)
    boxes = ops.sum(ops.mean(_smooth_l1(encodings - wanted_encodings), axis=-1) * sure)
    scores = ops.sum(ops.square(ops.sigmoid(logits[..., 1]) - wanted))
    return (boxes + _SCORE_WEIGHT * scores) / people

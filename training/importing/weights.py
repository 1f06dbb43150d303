"""Loads weights of any known kind into an exportable detector."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import keras
import numpy as np
from numpy.typing import NDArray

from edge_app.errors import UserError
from training.importing.frozen_graph import graph_weights, load_weights, read_checkpoint, read_graph
from training.model.anchors import AnchorGenerator
from training.model.backbone import WIDEST_BLOCK
from training.model.ssdlite import build_ssdlite, rebuild
from training.model.transfer import copy_weights, transfer_weights
from training.quantization.blocks import QuantizedBlocks, is_quantized, precision_of

_CLASS_BIASES = "BoxPredictor_0/ClassPredictor/biases"
_LAST_PROJECTION = "FeatureExtractor/MobilenetV2/expanded_conv_16/project/weights"


def load_exportable(path: Path, person_class: int = 1) -> keras.Model:
    """Return a detector of people with a batch of one.

    Args:
        path: frozen graph (``.pb``), TensorFlow 1 checkpoint (the part of its files' names before ``.index``), or a
            Keras model (``.keras``).
        person_class: which class of a graph or checkpoint is the person; its label map says so, 1 in COCO's.

    Raises:
        UserError: the file is missing, of another kind, or its weights don't fit.
    """
    if path.suffix == ".pb":
        return _from_scopes(graph_weights(read_graph(path)), person_class, path)
    if path.suffix == ".keras":
        return _from_keras(path)
    if path.with_name(path.name + ".index").is_file():
        return _from_scopes(read_checkpoint(path), person_class, path)
    raise UserError(
        f"weights {path} are neither a frozen graph (.pb), a Keras model (.keras) nor a TensorFlow 1 checkpoint"
    )


def _from_scopes(weights: dict[str, NDArray[np.float32]], person_class: int, path: Path) -> keras.Model:
    """Build the network that weights with the OD API's names belong to, and keep the background and the person."""
    for name in (_CLASS_BIASES, _LAST_PROJECTION):
        if name not in weights:
            raise UserError(f"{path} has no weight '{name}'; it is not an SSDLite MobileNetV2")
    columns, left = divmod(len(weights[_CLASS_BIASES]), len(AnchorGenerator().shapes(6)[0]))
    if left or columns <= person_class or person_class < 1:
        raise UserError(
            f"{path} has {columns - 1} classes besides the background, so class {person_class} can't be the person; "
            "look it up in the label map"
        )
    alpha = weights[_LAST_PROJECTION].shape[-1] / WIDEST_BLOCK
    model = build_ssdlite(classes=columns - 1, alpha=alpha, batch_size=1)
    load_weights(model, weights)
    if columns == 2:
        return model
    person = build_ssdlite(alpha=alpha, batch_size=1)
    transfer_weights(model, person, (0, person_class))
    return person


def _from_keras(path: Path) -> keras.Model:
    try:
        source = keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a Keras model ({str(error).splitlines()[0]}); give a .keras file") from error
    return exportable(source)


def exportable(source: keras.Model, side: Optional[int] = None) -> keras.Model:
    """Return a copy of a detector, float or quantised, with a batch of one.

    Args:
        source: of ``build_ssdlite``.
        side: of the square input, pixels; None for the source's. Anchors stay parts of the picture and no weight
            depends on the size, so a detector works at sizes near the one that it was trained at.
    """
    blocks = QuantizedBlocks(precision_of(source)) if is_quantized(source) else None
    model = rebuild(source, batch_size=1, blocks=blocks, side=side)
    copy_weights(source, model)
    return model

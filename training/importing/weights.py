"""Loads weights of any known kind into an exportable detector."""

from __future__ import annotations

from pathlib import Path

import keras

from edge_app.errors import UserError
from training.importing.frozen_graph import graph_weights, load_weights, read_graph
from training.model.ssdlite import alpha_of, build_ssdlite, classes_of, shapes_of
from training.quantization.blocks import QuantizedBlocks, is_quantized, precision_of


def load_exportable(path: Path) -> keras.Model:
    """Return a detector with a batch of one and the weights of a frozen graph or a Keras model.

    Raises:
        UserError: the file is missing, of another kind, or its weights don't fit.
    """
    if path.suffix == ".pb":
        model = build_ssdlite(batch_size=1)
        load_weights(model, graph_weights(read_graph(path)))
        return model
    if path.suffix == ".keras":
        try:
            source = keras.models.load_model(path, compile=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is not a Keras model ({str(error).splitlines()[0]}); give a .keras file"
            ) from error
        _, height, width, _ = source.inputs[0].shape
        model = build_ssdlite(
            height=height,
            width=width,
            classes=classes_of(source),
            alpha=alpha_of(source),
            anchors=shapes_of(source),
            batch_size=1,
            blocks=QuantizedBlocks(precision_of(source)) if is_quantized(source) else None,
        )
        model.set_weights(source.get_weights())
        return model
    raise UserError(f"weights {path} are neither a frozen graph (.pb) nor a Keras model (.keras)")

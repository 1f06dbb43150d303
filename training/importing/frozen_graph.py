"""Import of TF Object Detection API weights from a frozen TensorFlow 1 graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge_app.errors import UserError

# Where weights live in the graph; other constants there are shapes and indices of its arithmetic.
_WEIGHT_SUFFIXES = ("weights", "depthwise_weights", "biases", "gamma", "beta", "moving_mean", "moving_variance")
_RAW_INPUT = "Preprocessor/sub:0"
_RAW_OUTPUTS = ("Squeeze:0", "concat_1:0")


def read_graph(path: Path) -> Any:
    """Read a frozen graph.

    Raises:
        UserError: the file is missing or no TensorFlow graph.
    """
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"frozen graph {path} does not exist; bring it with 'fetch-pretrained'") from error
    except Exception as error:  # the protobuf library's own exception class differs between its releases
        raise UserError(f"{path} is not a frozen TensorFlow graph; give a .pb file") from error
    if not graph.node:
        raise UserError(f"{path} is not a frozen TensorFlow graph; give a .pb file")
    return graph


def graph_weights(graph: Any) -> dict[str, NDArray[np.float32]]:
    """Return every trained weight of a detector's graph by its name."""
    from tensorflow import make_ndarray  # noqa: PLC0415 - heavy, and only needed here

    return {
        node.name: make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const" and node.name.rsplit("/", 1)[-1] in _WEIGHT_SUFFIXES
    }


def read_checkpoint(prefix: Path) -> dict[str, NDArray[np.float32]]:
    """Return every trained weight of a TensorFlow 1 checkpoint by its name; slots of optimisers are left out.

    Args:
        prefix: what the names of its files have in common, such as ``model.ckpt``.

    Raises:
        UserError: the files are damaged or incomplete.
    """
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = [name for name in reader.get_variable_to_shape_map() if name.rsplit("/", 1)[-1] in _WEIGHT_SUFFIXES]
        return {name: reader.get_tensor(name) for name in names}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(f"checkpoint {prefix} cannot be read; give all of its files (.index, .data-...)") from error


def load_weights(model: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Set all weights of an SSDLite model from TF Object Detection API names.

    Args:
        model: from ``build_ssdlite``; its layers' names are the weights' scopes.
        weights: by name, such as ``BoxPredictor_0/ClassPredictor/biases``.

    Raises:
        UserError: a weight is missing, has another shape, or was not used.
    """
    unused = dict(weights)
    for layer in model.layers:
        names = _names_of(layer)
        if not names:
            continue
        missing = [name for name in names if name not in unused]
        if missing:
            raise UserError(f"the graph has no weight '{missing[0]}'; it is not an SSDLite MobileNetV2 of this shape")
        values = [unused.pop(name) for name in names]
        for name, value, variable in zip(names, values, layer.weights):
            if tuple(value.shape) != tuple(variable.shape):
                raise UserError(
                    f"weight '{name}' has the shape {list(value.shape)}, the model needs {list(variable.shape)}; check "
                    "the number of classes, anchors and the width multiplier"
                )
        layer.set_weights(values)
    if unused:
        raise UserError(f"{len(unused)} weights of the graph have no place in the model, such as '{sorted(unused)[0]}'")


def raw_heads_function(graph: Any) -> Callable[[NDArray[np.float32]], tuple[Any, Any]]:
    """Return the graph as a function from (1, h, w, 3) normalised pixels to box encodings and class logits."""
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    pruned = wrapped.prune(_RAW_INPUT, list(_RAW_OUTPUTS))

    def run(pixels: NDArray[np.float32]) -> tuple[Any, Any]:
        boxes, logits = pruned(tf.constant(pixels))
        return boxes.numpy(), logits.numpy()

    return run


def _names_of(layer: Any) -> list[str]:
    """Return the graph's names of a layer's weights, in the layer's order."""
    scope, _, kind = layer.name.rpartition(".")
    scope = scope.replace(".", "/")
    if kind == "conv":
        return [f"{scope}/weights"] + ([f"{scope}/biases"] if layer.use_bias else [])
    if kind == "depthwise_conv":
        return [f"{scope}/depthwise_weights"]
    if kind == "batch_norm":
        return [f"{scope}/BatchNorm/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance")]
    return []

"""Conversion of a Keras detector to TensorFlow Lite: float, dynamic range, float16 or full integer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Optional

import keras
from keras import ops

from edge_app.errors import UserError
from training.export.operators import count_operators, float_operators
from training.export.post_process import OPERATOR, PostProcess, append_post_process
from training.model.ssdlite import anchors_of
from training.quantization.blocks import is_quantized
from training.quantization.fake_quant import exporting

Method = Literal["float", "dynamic-range", "float16", "full-integer", "qat"]
_INTEGER_METHODS = ("full-integer", "qat")
InputType = Literal["uint8", "float32"]

# What may stay float in a full-integer detector: the post-process and the two conversions in front of it.
_MAY_STAY_FLOAT = {OPERATOR: 1, "DEQUANTIZE": 2}


@dataclass(frozen=True)
class Conversion:
    """How to convert.

    Attributes:
        method: kind of quantisation.
        input_type: of the converted model; uint8 for full integer only.
        per_channel: one weight scale per output channel; False for one per tensor.
        post_process: options of the operator at the end.
        strict: refuse a model of which any operator before the post-process stays float.
    """

    method: Method
    input_type: InputType
    per_channel: bool = True
    post_process: PostProcess = field(default_factory=PostProcess)
    strict: bool = False


def convert(
    model: keras.Model, conversion: Conversion, representative: Optional[Callable[[], Iterator[list[Any]]]] = None
) -> bytes:
    """Convert a detector of ``build_ssdlite(batch_size=1)`` and append the post-process operator.

    Args:
        model: from normalised pixels to box encodings and class logits.
        conversion: how.
        representative: makes an iterator of inputs; needed for full integer. A model trained with quantisation
            ("qat") brings its ranges along.

    Raises:
        UserError: strict, and an operator stayed float; or ``qat`` of a model that was not trained so, or the reverse.
    """
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here

    if is_quantized(model) != (conversion.method == "qat"):
        raise UserError(
            "the model was trained with quantisation; give --method qat"
            if is_quantized(model)
            else "the model was not trained with quantisation; train it with 'quantization' or give another --method"
        )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen_function(model)])
    converter._experimental_disable_per_channel = not conversion.per_channel
    if conversion.method != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if conversion.method == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if conversion.method == "full-integer":
        if representative is None:
            raise ValueError("full-integer quantisation needs a representative data set")
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if conversion.method in _INTEGER_METHODS and conversion.input_type == "uint8":
        converter.inference_input_type = tf.uint8
    content = append_post_process(converter.convert(), anchors_of(model), conversion.post_process)
    left = stayed_float(content, conversion.input_type) if conversion.strict else {}
    if left:
        names = ", ".join(f"{name} ({count})" for name, count in left.items())
        raise UserError(f"these operators stay float: {names}; change these layers or quantise without --strict")
    return content


def _frozen_function(model: keras.Model) -> Any:
    """Trace a model with sigmoid scores at a fixed shape and make its weights constants."""
    import tensorflow as tf  # noqa: PLC0415 - heavy, and only needed here
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
        convert_variables_to_constants_v2,
    )

    if model.inputs[0].shape[0] != 1:
        raise ValueError("a detector is exported with a batch of one")

    @tf.function(input_signature=[tf.TensorSpec(model.inputs[0].shape, tf.float32, name="image")])
    def raw_heads(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return {"box_encodings": outputs["box_encodings"], "scores": ops.sigmoid(outputs["class_logits"])}

    with exporting():
        return convert_variables_to_constants_v2(raw_heads.get_concrete_function())


def stayed_float(content: bytes, input_type: InputType) -> dict[str, int]:
    """Count the operators that compute in float though an integer detector of that input has no need for it."""
    may = {**_MAY_STAY_FLOAT, **({"QUANTIZE": 1} if input_type == "float32" else {})}
    counts = count_operators(float_operators(content))
    return {name: count for name, count in counts.items() if count > may.get(name, 0)}

from __future__ import annotations

import numpy as np
import pytest

from edge_app.config import ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from training.evaluation.predictors import load_predictor
from training.export.convert import Conversion, convert, stayed_float
from training.export.operators import PUBLISHED, count_operators, read_operators
from training.export.representative import model_inputs, representative_pictures

# What is more than in the published table: the uint8 input's conversion, and the two before the float post-process.
CONVERSIONS = {"QUANTIZE": 1, "DEQUANTIZE": 2}


def small_detector(seed=0):
    import keras

    from training.model.ssdlite import build_ssdlite

    keras.utils.set_random_seed(seed)
    model = build_ssdlite(height=96, width=96, alpha=0.35, batch_size=1)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([rng.uniform(0.5, 1.5, size), rng.normal(0, 0.3, size), rng.normal(0, 0.3, size),
                               rng.uniform(0.5, 1.5, size)])  # fmt: skip
    return model


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_both_forms_of_rounding_agree_with_integers_worked_out_in_numpy(per_channel, narrow):
    from training.quantization.fake_quant import fake_quantize, fake_quantize_by_ops

    rng = np.random.default_rng(1)
    x = rng.normal(0, 2, (7, 5)).astype(np.float32)
    low = np.array([-1.1, -2.0, -0.31, 0.0, -3.0], np.float32) if per_channel else np.float32(-1.5)
    high = np.array([1.0, 3.0, 0.7, 6.0, 0.0], np.float32) if per_channel else np.float32(2.2)
    first = 1 if narrow else 0
    scale = (high.astype(np.float64) - low) / (255 - first)
    zero = np.round(first - low / scale)
    expected = (np.clip(np.round(x / scale + zero), first, 255) - zero) * scale
    for function in (fake_quantize, fake_quantize_by_ops):
        found = np.asarray(function(x, np.asarray(low), np.asarray(high), narrow=narrow))
        # A value in the middle of two levels may go either way.
        assert (np.abs(found - expected) > 1e-5).sum() == 0, function.__name__


def test_gradients_pass_inside_of_the_range_only():
    import tensorflow as tf

    from training.quantization.fake_quant import fake_quantize_by_ops

    x = tf.Variable([-2.0, -0.5, 0.3, 4.0])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(fake_quantize_by_ops(x, tf.constant(-1.0), tf.constant(1.0)))
    np.testing.assert_array_equal(tape.gradient(total, x), [0, 1, 1, 0])


@pytest.fixture(scope="module")
def trained_ranges():
    """A small float detector and its quantised form with calibrated ranges, and the inputs of the calibration."""
    from training.quantization.blocks import Precision, quantized_from
    from training.quantization.schedule import calibrate, set_phase

    model = small_detector()
    inputs = [np.random.default_rng(seed).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32) for seed in range(4)]
    quantized = quantized_from(model, Precision(), 1)
    calibrate(quantized, inputs)
    return model, quantized, inputs, set_phase


def test_folding_keeps_the_outputs_of_the_float_model(trained_ranges):
    model, quantized, inputs, set_phase = trained_ranges
    set_phase(quantized, enabled=False, moving=False)
    for name, expected in model(inputs[0]).items():
        np.testing.assert_allclose(np.asarray(quantized(inputs[0])[name]), np.asarray(expected), atol=2e-4)


def test_rounding_waits_for_its_delay_and_ranges_move_only_while_they_may(trained_ranges):
    _, quantized, inputs, set_phase = trained_ranges
    set_phase(quantized, enabled=False, moving=False)
    exact = np.asarray(quantized(inputs[0])["class_logits"])
    set_phase(quantized, enabled=True, moving=False)
    rounded = np.asarray(quantized(inputs[0])["class_logits"])
    assert 1e-4 < np.abs(rounded - exact).mean() < 0.5
    layer = quantized.get_layer("class_logits.range")
    before = float(layer.high)
    quantized(3 * inputs[1], training=True)
    assert float(layer.high) == before
    set_phase(quantized, enabled=True, moving=True)
    quantized(3 * inputs[1], training=True)
    after = float(layer.high)
    layer.high.assign(before)
    set_phase(quantized, enabled=True, moving=False)
    assert after != before


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_flatbuffer_has_the_trained_scales_and_nothing_to_requantise(trained_ranges, per_channel, tmp_path):
    from tensorflow.lite.tools import flatbuffer_utils

    from training.quantization.blocks import Precision, convolutions_of, quantized_from, ranges_of
    from training.quantization.schedule import calibrate, set_phase

    model, _, inputs, _ = trained_ranges
    quantized = quantized_from(model, Precision(per_channel=per_channel), 1)
    calibrate(quantized, inputs)
    # Ranges that no calibration would find, so that the ones in the file can only be the trained ones.
    for number, layer in enumerate(layer for layer in ranges_of(quantized) if layer.fixed is None):
        layer.high.assign(float(layer.high) * (1 + 0.003 * number))
    set_phase(quantized, enabled=True, moving=False)
    path = tmp_path / "qat.tflite"
    path.write_bytes(convert(quantized, Conversion("qat", "uint8", per_channel, strict=True)))

    counts = count_operators(read_operators(path))
    assert counts == {**PUBLISHED["published QAT"], **CONVERSIONS}
    graph = flatbuffer_utils.read_model(str(path)).subgraphs[0]
    scales = [tensor.quantization.scale for tensor in graph.tensors if tensor.quantization is not None]
    written = np.array(sorted(float(scale[0]) for scale in scales if scale is not None and len(scale) == 1))
    for layer in ranges_of(quantized):
        expected = (float(layer.high) - float(layer.low)) / 255
        assert np.abs(written / expected - 1).min() < 1e-5, layer.name
    vectors = [np.asarray(scale) for scale in scales if scale is not None and len(scale) > 1]
    for layer in convolutions_of(quantized):
        expected = np.asarray(layer.weight_limits()) / 127
        if per_channel:
            same = [np.allclose(vector, expected, rtol=1e-4) for vector in vectors if vector.shape == expected.shape]
            assert any(same), layer.name
        else:
            assert np.abs(written / float(expected) - 1).min() < 1e-5, layer.name


def test_the_integer_model_finds_what_the_quantised_keras_model_finds(
    pretrained_model, street_pictures, street_frame, tmp_path
):
    from training.quantization.blocks import Precision, quantized_from
    from training.quantization.schedule import calibrate, set_phase

    quantized = quantized_from(pretrained_model, Precision(), 1)
    # Calibration runs at the network's own zero point of 127.
    pictures = representative_pictures(street_pictures, 12, seed=0)
    calibrate(quantized, (item[0] for item in model_inputs(pictures, 300, 300, "stretch")))
    set_phase(quantized, enabled=True, moving=False)
    quantized.save(tmp_path / "qat.keras")
    (tmp_path / "qat.tflite").write_bytes(convert(quantized, Conversion("qat", "uint8")))
    expected = load_predictor(tmp_path / "qat.keras")(street_frame)
    expected = expected[expected.score > 0.5]
    assert len(expected) >= 3
    found = detect(load_detector(ModelConfig(path=tmp_path / "qat.tflite")), street_frame)
    for box, score in zip(expected.bbox, expected.score):
        distance = np.abs(found.bbox - box).max(axis=1)
        assert distance.min() < 3.0
        assert abs(found.score[distance.argmin()] - score) < 0.06


def test_the_kind_of_model_and_of_quantisation_must_fit(trained_ranges):
    model, quantized, _, _ = trained_ranges
    with pytest.raises(UserError, match="--method qat"):
        convert(quantized, Conversion("float", "float32"))
    with pytest.raises(UserError, match="not trained with quantisation"):
        convert(model, Conversion("qat", "uint8"))


def test_strict_names_what_stays_float(trained_ranges):
    model, _, _, _ = trained_ranges
    with pytest.raises(UserError, match=r"stay float: .*CONV_2D \(55\)"):
        convert(model, Conversion("dynamic-range", "float32", strict=True))
    assert stayed_float(convert(model, Conversion("dynamic-range", "float32")), "float32")["ADD"] == 10

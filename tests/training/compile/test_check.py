from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

from edge_app.config import DEFAULT_MODEL
from edge_app.errors import UserError
from tests.training.compile.small_models import chain, compiled, model, shape_tensor, tensor
from training.compile.check import CACHE_MOST_BYTES, predict, predict_graph
from training.compile.command import compile_model
from training.compile.compiled_file import min_runtime_version
from training.compile.graph import parse_graph, read_graph
from training.compile.op_rules import DATA_TYPE, NOT_SUPPORTED, RANK, STRIDES, SUBGRAPH, UNSPECIFIED
from training.compile.verdict import judge

SHARED = Path("../shared/edge_tpu")
MAPPED = "Mapped to Edge TPU"
PAIRS = ("deeplabv3_mnv2_dm05_pascal_quant", "keras_lstm_mnist_ptq", "mobilenet_v1_0.25_128_quant",
         "posenet_mobilenet_v1_075_353_481_16_quant_decoder")  # fmt: skip
needs_pairs = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/edge_tpu is not here")


def statuses(content):
    return list(predict_graph(parse_graph(content)).statuses)


@needs_pairs
@pytest.mark.parametrize("name", PAIRS)
def test_every_operator_of_a_pair_goes_where_the_real_compiler_put_it(name):
    pairs = json.loads((SHARED / "mapping_pairs.json").read_text())["pairs"]
    (pair,) = (pair for pair in pairs if pair["original"].endswith(f"{name}.tflite"))
    prediction = predict(SHARED / "pairs" / f"{name}.tflite")
    assert [status == MAPPED for status in prediction.statuses] == [mapped for *_, mapped in pair["ops_original"]]
    assert prediction.report.subgraphs == pair["n_custom_ops"]


@needs_pairs
@pytest.mark.parametrize("name", PAIRS)
def test_a_compiled_model_tells_the_runtime_that_it_needs(name):
    assert min_runtime_version(SHARED / "pairs" / f"{name}_edgetpu.tflite") == 12
    assert min_runtime_version(SHARED / "pairs" / f"{name}.tflite") is None


def test_the_released_model_leaves_only_its_post_process_on_the_cpu():
    prediction = predict(DEFAULT_MODEL)
    left = {row.name: (row.count, row.status) for row in prediction.report.rows if row.status != MAPPED}
    assert left == {"CUSTOM": (1, DATA_TYPE), "DEQUANTIZE": (2, DATA_TYPE)}
    assert prediction.report.subgraphs == 1
    assert all(have <= most for have, most in prediction.versions.values())
    assert judge(prediction.report).ok
    assert 0 < prediction.parameter_bytes < DEFAULT_MODEL.stat().st_size


def test_what_comes_after_an_operator_that_is_not_supported_stays_on_the_cpu_too():
    assert statuses(chain("RELU", "HARD_SWISH", "RELU")) == [MAPPED, NOT_SUPPORTED, SUBGRAPH]


def test_several_subgraphs_take_up_what_comes_after():
    graph = parse_graph(chain("RELU", "HARD_SWISH", "RELU"))
    prediction = predict_graph(graph, several_subgraphs=True)
    assert prediction.statuses == (MAPPED, NOT_SUPPORTED, MAPPED)
    assert prediction.report.subgraphs == 2


def test_a_branch_beside_an_operator_that_is_not_supported_is_mapped():
    tensors = [tensor(f"t{index}", [1, 8, 8, 4]) for index in range(5)]
    operators = [("RELU", [0], [1], {}), ("HARD_SWISH", [1], [2], {}), ("TANH", [1], [3], {}), ("ADD", [2, 3], [4], {})]
    assert statuses(model(tensors, operators, [4])) == [MAPPED, NOT_SUPPORTED, MAPPED, SUBGRAPH]


def test_an_operator_at_the_start_that_is_not_supported_leaves_the_rest_mapped():
    assert statuses(chain("LEAKY_RELU", "RELU")) == [NOT_SUPPORTED, MAPPED]


def unary(name, before, after, *, types=("INT8", "INT8"), constants=(), options=None, first=False):
    """One operator from shape ``before`` to ``after``, with constants after (or before) the activation."""
    tensors = [tensor("in", before, types[0]), tensor("out", after, types[1]), *constants]
    order = [*range(2, len(tensors)), 0] if first else [0, *range(2, len(tensors))]
    return model(tensors, [(name, order, [1], {"options": options} if options else {})], [1])


def options(kind, **values):
    made = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        setattr(made, name, value)
    return kind, made


def bounds(end, strides):
    return [shape_tensor("begin", [0] * len(end)), shape_tensor("end", end), shape_tensor("strides", strides)]


PICTURE = [1, 8, 8, 6]
WEIGHTS = tensor("w", [4, 1, 1, 6], content=np.ones(24, np.int8))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (unary("QUANTIZE", PICTURE, PICTURE, types=("UINT8", "INT8")), MAPPED),
        (unary("QUANTIZE", PICTURE, PICTURE, types=("FLOAT32", "INT8")), UNSPECIFIED),
        (unary("DEQUANTIZE", PICTURE, PICTURE, types=("INT8", "FLOAT32")), DATA_TYPE),
        (unary("ARG_MAX", PICTURE, [1, 8, 8], types=("INT8", "INT64"), constants=[shape_tensor("axis", [3])]),
         DATA_TYPE),
        (unary("GATHER", PICTURE, PICTURE, constants=[shape_tensor("which", [0, 1])]), NOT_SUPPORTED),
        (unary("RELU", [2, 8, 8, 4], [2, 8, 8, 4]), RANK),
        (unary("RELU", [1, 2, 8, 8, 4], [1, 2, 8, 8, 4]), RANK),
        (unary("RELU", [1, 1, 8, 8, 4], [1, 1, 8, 8, 4]), MAPPED),
        (unary("MAX_POOL_2D", PICTURE, [1, 4, 4, 6], options=options("Pool2DOptions", fusedActivationFunction=1)),
         UNSPECIFIED),
        (unary("MAX_POOL_2D", PICTURE, [1, 4, 4, 6], options=options("Pool2DOptions")), MAPPED),
        (unary("CONV_2D", PICTURE, [1, 8, 8, 4], constants=[WEIGHTS],
               options=options("Conv2DOptions", dilationHFactor=2, dilationWFactor=1)), UNSPECIFIED),
        (unary("CONV_2D", PICTURE, [1, 8, 8, 4], constants=[WEIGHTS],
               options=options("Conv2DOptions", dilationHFactor=2, dilationWFactor=2)), MAPPED),
        (unary("FULLY_CONNECTED", [1, 6], [1, 4], constants=[tensor("w", [4, 6], content=np.ones(24, np.int8))]),
         MAPPED),
        (unary("FULLY_CONNECTED", [3, 6], [3, 4], constants=[tensor("w", [4, 6], content=np.ones(24, np.int8))]),
         UNSPECIFIED),
        (unary("MEAN", PICTURE, [1, 6], constants=[shape_tensor("axes", [1, 2])]), MAPPED),
        (unary("MEAN", PICTURE, [8, 8, 6], constants=[shape_tensor("axes", [0])]), UNSPECIFIED),
        (unary("MEAN", PICTURE, [1, 8, 8], constants=[shape_tensor("axes", [-1])]), UNSPECIFIED),
        (unary("MEAN", [1, 8, 8, 8], [1, 8, 8], constants=[shape_tensor("axes", [3])]), MAPPED),
        (unary("SUM", PICTURE, [1, 8, 6], constants=[shape_tensor("axes", [1])]), MAPPED),
        (unary("PAD", PICTURE, [1, 10, 10, 6], constants=[
            tensor("p", [4, 2], "INT32", np.array([0, 0, 1, 1, 1, 1, 0, 0], np.int32))]), MAPPED),
        (unary("PAD", PICTURE, [3, 8, 8, 6], constants=[
            tensor("p", [4, 2], "INT32", np.array([1, 1, 0, 0, 0, 0, 0, 0], np.int32))]), RANK),
        (unary("PRELU", PICTURE, PICTURE, constants=[tensor("a", [1, 1, 6], content=np.ones(6, np.int8))]), MAPPED),
        (unary("PRELU", PICTURE, PICTURE, constants=[tensor("a", [8, 8, 6], content=np.ones(384, np.int8))]),
         UNSPECIFIED),
        (unary("RESIZE_BILINEAR", PICTURE, [1, 64, 64, 6], constants=[shape_tensor("s", [64, 64])]), MAPPED),
        (unary("RESIZE_BILINEAR", PICTURE, [1, 8, 88, 6], constants=[shape_tensor("s", [8, 88])]), UNSPECIFIED),
        (unary("SOFTMAX", [1, 16_000], [1, 16_000]), MAPPED),
        (unary("SOFTMAX", [1, 16_001], [1, 16_001]), UNSPECIFIED),
        (unary("STRIDED_SLICE", PICTURE, [1, 4, 8, 6], constants=bounds([1, 4, 8, 6], [1, 1, 1, 1])), MAPPED),
        (unary("STRIDED_SLICE", PICTURE, [1, 4, 8, 6], constants=bounds([1, 8, 8, 6], [1, 2, 1, 1])), STRIDES),
        (unary("SPLIT", PICTURE, [1, 8, 8, 3], constants=[shape_tensor("axis", [3])], first=True), MAPPED),
        (unary("SPLIT", PICTURE, PICTURE, constants=[shape_tensor("axis", [0])], first=True), UNSPECIFIED),
        (unary("PACK", [8, 8], [8, 8, 1], options=options("PackOptions", axis=2, valuesCount=1)), MAPPED),
        (unary("PACK", [8, 8], [1, 8, 8], options=options("PackOptions", axis=0, valuesCount=1)), UNSPECIFIED),
        (unary("CONCATENATION", PICTURE, [1, 8, 8, 12], constants=[tensor("c", PICTURE, content=np.zeros(384,
         np.int8))],
               options=options("ConcatenationOptions", axis=3)), MAPPED),
        (unary("CONCATENATION", PICTURE, [1, 8, 8, 12], constants=[tensor("c", PICTURE, content=np.arange(384) % 100)],
               options=options("ConcatenationOptions", axis=3)), UNSPECIFIED),
    ],
)  # fmt: skip
def test_each_documented_limit(content, status):
    assert statuses(content) == [status]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (model([tensor("a", [1, 4]), tensor("b", [1, 4])], [("QUANTIZE", [0], [1], {"version": 3})], [1]),
         "Didn't find op for builtin opcode 'QUANTIZE' version '3'."),
        (model([tensor("a", [1, 4]), tensor("b", [1, 4])], [("GELU", [0], [1], {"version": 1})], [1]),
         "Op builtin_code out of range: 150."),
        (model([tensor("a", [1, 4]), tensor("b", [1, 4])], [("Atan", [0], [1], {})], [1]),
         "Encountered unresolved custom op: Atan."),
        (chain("RELU", dtype="FLOAT32"), "Model not quantized"),
        (model([tensor("a", [1, 4]), tensor("size", [2], "INT32"), tensor("b", [1, 4])],
               [("RESHAPE", [0, 1], [2], {})], [2]), "dynamic-sized tensors"),
        (chain("WHERE"), "dynamic-sized tensors"),
    ],
)  # fmt: skip
def test_a_model_that_the_compiler_cannot_take_fails_in_its_words(content, said):
    report = predict_graph(parse_graph(content)).report
    assert report.failed
    assert said in report.errors[0]
    assert not judge(report).ok


def test_an_open_batch_alone_compiles_as_one():
    open_batch = tensor("in", [1, 8, 8, 4], shapeSignature=[-1, 8, 8, 4])
    assert statuses(model([open_batch, tensor("out", [1, 8, 8, 4])], [("RELU", [0], [1], {})], [1])) == [MAPPED]


def test_parameters_beyond_the_edge_tpus_memory_are_told():
    size = CACHE_MOST_BYTES + 1
    weights = tensor("w", [size // 6, 1, 1, 6], content=np.ones(size // 6 * 6, np.int8))
    content = unary("CONV_2D", PICTURE, [1, 8, 8, size // 6], constants=[weights],
                    options=options("Conv2DOptions", dilationHFactor=1, dilationWFactor=1))  # fmt: skip
    prediction = predict_graph(parse_graph(content))
    assert prediction.parameter_bytes == size // 6 * 6
    assert "the rest is streamed at every inference" in prediction.memory_sentence


def test_a_compiled_model_is_not_compiled_again(tmp_path):
    path = tmp_path / "people_edgetpu.tflite"
    path.write_bytes(compiled(1, "out", [1, 4]))
    with pytest.raises(UserError, match="already compiled for the Edge TPU; give the model that it was made from"):
        predict(path)


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "damaged.tflite"
    content = bytearray(DEFAULT_MODEL.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(content)
        broken[8 : 8 + 2000] = rng.bytes(2000)
        path.write_bytes(broken)
        with pytest.raises(UserError, match="damaged TensorFlow Lite model"):
            read_graph(path)


def test_the_command_prints_the_tutorials_table_and_fails_on_operators_on_the_cpu(tmp_path):
    path = tmp_path / "people.tflite"
    path.write_bytes(chain("RELU", "HARD_SWISH", "RELU"))
    done = CliRunner().invoke(compile_model, ["--check", str(path)], standalone_mode=False)
    assert done.return_value == 1
    assert "RELU                           1          More than one subgraph is not supported" in done.stdout
    assert "should not: HARD_SWISH 1, RELU 1" in done.stderr
    arguments = ["--check", str(path), "--json", "--allow-on-cpu", "hard_swish=1", "--allow-on-cpu", "RELU=1"]
    done = CliRunner().invoke(compile_model, arguments, standalone_mode=False)
    assert done.return_value == 0
    content = json.loads(done.stdout)
    assert content["predicted"]
    assert content["operators"] == [MAPPED, NOT_SUPPORTED, SUBGRAPH]
    assert content["versions"]["HARD_SWISH"] == {"model": 1, "compiler": 1}


def test_the_card_gets_a_section_that_is_replaced_the_next_time(tmp_path):
    path, card = tmp_path / "people.tflite", tmp_path / "people.md"
    path.write_bytes(chain("RELU"))
    card.write_text("# people\n\nA card.\n")
    for _ in range(2):
        done = CliRunner().invoke(compile_model, ["--check", "--card", str(path)], standalone_mode=False)
        assert done.return_value == 0, done.stderr
    text = card.read_text()
    assert text.startswith("# people\n\nA card.\n\n")
    assert text.count("## Edge TPU") == 1
    assert "There is no compiled twin here" in text
    assert "python -m training compile models/people.tflite" in text
    card.unlink()
    done = CliRunner().invoke(compile_model, ["--check", "--card", str(path)], standalone_mode=False)
    assert "write the model's card first" in str(done.exception)
    assert not card.exists()

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.box_decoding import NMS_IOU
from edge_app.box_overlap import iou_matrix
from edge_app.config import DEFAULT_MODEL, ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from edge_app.manifest import load_manifest, manifest_path
from training.commands import post_process
from training.evaluation.predictors import load_predictor
from training.export.convert import Conversion, convert
from training.export.operators import PUBLISHED, count_operators, format_operators, read_operators
from training.export.post_process import LOWEST_SCORE, PostProcess, change_post_process
from training.export.representative import model_inputs, representative_pictures

THIRD_PARTY = Path("../shared/data/models/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite")
NETWORK = {
    "ADD": 10,
    "CONCATENATION": 2,
    "CONV_2D": 55,
    "DEPTHWISE_CONV_2D": 33,
    "LOGISTIC": 1,
    "RESHAPE": 13,
    "CUSTOM": 1,
}


@pytest.fixture(scope="module")
def exported(pretrained_model, street_pictures, tmp_path_factory):
    """One model of each kind, without manifests."""
    folder = tmp_path_factory.mktemp("models")
    pictures = representative_pictures(street_pictures, 12, seed=0)

    def inputs():
        return model_inputs(pictures, 300, 300, "stretch")

    kinds = {
        "float": Conversion("float", "float32"),
        "dynamic-range": Conversion("dynamic-range", "float32"),
        "float16": Conversion("float16", "float32"),
        "full-integer": Conversion("full-integer", "uint8"),
    }
    paths = {}
    for kind, conversion in kinds.items():
        paths[kind] = folder / f"{kind}.tflite"
        paths[kind].write_bytes(convert(pretrained_model, conversion, inputs))
    return paths


@pytest.mark.parametrize(
    ("kind", "conversions"),
    [
        ("float", {}),
        ("dynamic-range", {}),
        ("float16", {"DEQUANTIZE": 176}),
        ("full-integer", {"QUANTIZE": 1, "DEQUANTIZE": 2}),
    ],
)
def test_the_operator_table_of_each_kind(exported, kind, conversions):
    assert count_operators(read_operators(exported[kind])) == {**NETWORK, **conversions}


def test_each_kind_finds_the_people_that_the_frozen_graph_finds(exported, frozen_graph, street_frame):
    truth = load_predictor(frozen_graph)(street_frame)
    truth = truth[truth.score > 0.5]
    assert len(truth) >= 3
    for kind, tolerance in (("float", 0.5), ("float16", 1.0), ("dynamic-range", 4.0), ("full-integer", 6.0)):
        found = detect(load_detector(ModelConfig(path=exported[kind])), street_frame)
        for box in truth.bbox:
            assert np.abs(found.bbox - box).max(axis=1).min() < tolerance, kind


def test_outputs_in_the_tf2_order_give_the_same_boxes(exported, street_frame, tmp_path):
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(exported["full-integer"]))
    boxes, classes, scores, count = model.subgraphs[0].outputs
    model.subgraphs[0].outputs = [scores, boxes, count, classes]
    swapped = tmp_path / "swapped.tflite"
    flatbuffer_utils.write_model(model, str(swapped))
    first = detect(load_detector(ModelConfig(path=exported["full-integer"])), street_frame)
    detector = load_detector(ModelConfig(path=swapped))
    assert detector.mapping.found_by == "shape (TF2 order)"
    second = detect(detector, street_frame)
    assert len(first) > 0
    np.testing.assert_array_equal(first.bbox, second.bbox)
    np.testing.assert_array_equal(first.score, second.score)


def test_another_post_process_leaves_the_network_as_it_is(exported, pretrained_model, street_frame, tmp_path):
    conversion = Conversion("float", "float32", post_process=PostProcess.suppressing())
    suppressing = convert(pretrained_model, conversion)
    assert change_post_process(suppressing, PostProcess()) == exported["float"].read_bytes()
    path = tmp_path / "suppressing.tflite"
    path.write_bytes(suppressing)
    detector = load_detector(ModelConfig(path=path))
    tensor, _ = detector.preprocess(street_frame)
    boxes, _, scores, count = detector.invoke(tensor)
    assert boxes.shape == (40, 4)
    assert scores[:count].min() >= np.float32(LOWEST_SCORE)
    overlap = iou_matrix(boxes[:count], boxes[:count])[~np.eye(count, dtype=bool)]
    assert 0 < overlap.max() <= NMS_IOU


def test_only_a_detector_has_a_post_process_to_change(exported):
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(exported["float"]))
    model.subgraphs[0].operators = model.subgraphs[0].operators[:-1]
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(UserError, match="does not end in TFLite_Detection_PostProcess"):
        change_post_process(content, PostProcess())


@pytest.mark.skipif(not THIRD_PARTY.exists(), reason="../shared/data is not here")
def test_the_post_process_of_a_model_of_many_classes_is_not_changed():
    with pytest.raises(UserError, match="tells several classes apart"):
        change_post_process(THIRD_PARTY.read_bytes(), PostProcess())


@pytest.mark.parametrize("content", [b"", b"text", b"\x1c\0\0\0TFL3" + b"\0" * 40])
def test_what_is_no_model_is_told(content):
    with pytest.raises(UserError, match="damaged or no TensorFlow Lite model"):
        change_post_process(content, PostProcess())


def test_the_command_changes_a_model_and_its_manifest(tmp_path):
    before, after = load_manifest(DEFAULT_MODEL), tmp_path / "people.tflite"
    done = CliRunner().invoke(post_process, [str(DEFAULT_MODEL), "--out", str(after), "--suppress"])
    assert done.exit_code == 0, done.output
    manifest = load_manifest(after)
    assert before is not None
    assert manifest is not None
    assert (manifest.outputs.max_detections, manifest.outputs.suppressed) == (40, True)
    # A device of before has no word for what it has always taken for granted.
    assert "suppressed" not in manifest_path(after).read_text()
    assert manifest.anchors == before.anchors
    again = tmp_path / DEFAULT_MODEL.name
    assert CliRunner().invoke(post_process, [str(after), "--out", str(again)]).exit_code == 0
    assert again.read_bytes() == DEFAULT_MODEL.read_bytes()
    assert load_manifest(again) == before


def test_the_released_model_is_what_its_manifest_says():
    manifest = load_manifest(DEFAULT_MODEL)
    assert manifest is not None
    assert manifest.name == DEFAULT_MODEL.stem
    assert manifest.input.dtype == "uint8"
    assert manifest.anchors is not None
    assert manifest.anchors.count == 14978
    # The published QAT table, with uint8 pixels in and a float post-process behind.
    table = {**PUBLISHED["published QAT"], "QUANTIZE": 1, "DEQUANTIZE": 2}
    assert count_operators(read_operators(DEFAULT_MODEL)) == table
    assert manifest_path(DEFAULT_MODEL).with_suffix(".md").is_file()


def test_tables_stand_side_by_side():
    text = format_operators({"a": {"ADD": 3}, **PUBLISHED})
    row = next(line for line in text.splitlines() if line.startswith("ADD"))
    assert row.split() == ["ADD", "3", "10", "10"]


def test_the_choice_of_pictures_follows_the_seed(street_pictures):
    first = representative_pictures(street_pictures, 12, seed=1)
    assert first == representative_pictures(street_pictures, 12, seed=1)
    assert first != representative_pictures(street_pictures, 12, seed=2)
    assert len(representative_pictures(street_pictures, 1000, seed=0)) == 28


@pytest.mark.parametrize(("count", "said"), [(0, "holds 0 pictures; give at least 10"), (9, "holds 9 pictures")])
def test_too_few_representative_pictures_are_refused(tmp_path, count, said):
    for index in range(count):
        (tmp_path / f"{index}.jpg").touch()
    with pytest.raises(UserError, match=said):
        representative_pictures(tmp_path, 100, 0)


def test_a_missing_folder_and_an_unreadable_picture_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist; give a folder of pictures"):
        representative_pictures(tmp_path / "none", 100, 0)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.jpg cannot be read"):
        list(model_inputs([tmp_path / "broken.jpg"], 300, 300, "stretch"))


def test_what_is_no_model_has_no_operators(tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"not a model")
    with pytest.raises(UserError, match="not a TensorFlow Lite model"):
        read_operators(tmp_path / "x.tflite")

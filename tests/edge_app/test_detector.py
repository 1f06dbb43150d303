from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge_app.box_overlap import iou_matrix
from edge_app.config import DEFAULT_MODEL, SAMPLE, ModelConfig
from edge_app.detector import TFLiteDetector, at_once, detect, load_detector, scale_to_dtype
from edge_app.errors import UserError
from edge_app.manifest import InputSpec, load_manifest, manifest_path
from edge_app.source import VideoFile

THIRD_PARTY = Path("../shared/data/models/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite")
COMPILED = Path("../shared/edge_tpu/pairs/mobilenet_v1_0.25_128_quant_edgetpu.tflite")


class FakeInterpreter:
    """Gives fixed outputs in a chosen order: the runtime's interface without a model."""

    def __init__(self, outputs, order, dtype=np.uint8, quantization=None):
        self._outputs = [outputs[name] for name in order]
        self._dtype = dtype
        self._quantization = quantization or {}
        self._order = order

    def get_input_details(self):
        return [{"index": 0, "shape": np.array([1, 300, 300, 3]), "dtype": self._dtype}]

    def get_output_details(self):
        return [
            {"index": i, "name": name, "shape": np.array(value.shape), "quantization": self._quantization.get(name)}
            for i, (name, value) in enumerate(zip(self._order, self._outputs))
        ]

    def set_tensor(self, index, tensor):
        assert tensor.shape == (1, 300, 300, 3)
        assert tensor.dtype == self._dtype

    def invoke(self):
        pass

    def get_tensor(self, index):
        return self._outputs[index]


TWO_PEOPLE_AND_A_DOG = {
    "boxes": np.array([[[0.1, 0.2, 0.5, 0.3], [0.4, 0.5, 0.9, 0.6], [0.0, 0.0, 0.2, 0.2]]], np.float32),
    "classes": np.array([[0, 0, 17]], np.float32),
    "scores": np.array([[0.9, 0.2, 0.8]], np.float32),
    "count": np.array([3], np.float32),
}
TF1, TF2 = ("boxes", "classes", "scores", "count"), ("scores", "boxes", "count", "classes")
PICTURE = np.zeros((480, 640, 3), np.uint8)


def fake_detector(outputs=None, order=TF1, **kwargs):
    interpreter = FakeInterpreter(outputs or TWO_PEOPLE_AND_A_DOG, order, **kwargs)
    return TFLiteDetector([interpreter], "fake", ModelConfig(path=Path("fake.tflite")), None)


def test_people_come_out_in_source_pixels_and_dogs_do_not():
    found = detect(fake_detector(), PICTURE)
    np.testing.assert_allclose(found.bbox, [[128, 48, 192, 240], [320, 192, 384, 432]], rtol=1e-6)
    np.testing.assert_allclose(found.score, [0.9, 0.2])


def test_swapped_outputs_give_the_same_boxes():
    first, second = detect(fake_detector(order=TF1), PICTURE), detect(fake_detector(order=TF2), PICTURE)
    np.testing.assert_array_equal(first.bbox, second.bbox)
    np.testing.assert_array_equal(first.score, second.score)


def test_outputs_in_an_order_that_shapes_cannot_show_are_caught_when_they_come():
    lying = {
        **TWO_PEOPLE_AND_A_DOG,
        "classes": TWO_PEOPLE_AND_A_DOG["scores"],
        "scores": TWO_PEOPLE_AND_A_DOG["classes"],
    }
    with pytest.raises(UserError, match="write a manifest"):
        detect(fake_detector(lying), PICTURE)


def test_slots_beyond_the_count_are_not_detections():
    outputs = {**TWO_PEOPLE_AND_A_DOG, "count": np.array([1], np.float32)}
    assert len(detect(fake_detector(outputs), PICTURE)) == 1


def test_two_far_people_side_by_side_stay_two():
    outputs = {
        "boxes": np.array([[[0.40, 0.50, 0.45, 0.52], [0.40, 0.52, 0.45, 0.54]]], np.float32),
        "classes": np.zeros((1, 2), np.float32),
        "scores": np.array([[0.8, 0.7]], np.float32),
        "count": np.array([2], np.float32),
    }
    assert len(detect(fake_detector(outputs), PICTURE)) == 2


ONE_PERSON_TWICE = {
    "boxes": np.array([[[0.1, 0.2, 0.5, 0.3], [0.1, 0.2, 0.5, 0.31]]], np.float32),
    "classes": np.zeros((1, 2), np.float32),
    "scores": np.array([[0.6, 0.3]], np.float32),
    "count": np.array([2], np.float32),
}


def released_manifest(suppressed):
    manifest = load_manifest(DEFAULT_MODEL)
    assert manifest is not None
    outputs = manifest.outputs.model_copy(update={"suppressed": suppressed})
    taken = InputSpec(width=300, height=300, dtype="uint8")
    return manifest.model_copy(update={"outputs": outputs, "input": taken})


@pytest.mark.parametrize("suppressed", [False, True])
def test_several_rows_of_one_person_become_one_box_unless_the_model_has_told_them_apart(suppressed):
    config, interpreter = ModelConfig(path=Path("fake.tflite")), FakeInterpreter(ONE_PERSON_TWICE, TF1)
    found = detect(TFLiteDetector([interpreter], "fake", config, released_manifest(suppressed)), PICTURE)
    if suppressed:
        assert len(found) == 2
    else:
        np.testing.assert_allclose(found.bbox, [[128, 48, 192 + 6.4 / 3, 240]], rtol=1e-6)
        np.testing.assert_allclose(found.score, [0.6])


def test_the_released_model_leaves_it_to_the_device_to_tell_people_apart():
    manifest = load_manifest(DEFAULT_MODEL)
    assert manifest is not None
    assert not manifest.outputs.suppressed
    frame = next(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4"))).image
    detector = load_detector(ModelConfig())
    tensor, geometry = detector.preprocess(frame)
    outputs = detector.invoke(tensor)
    people = detector.decode(outputs, geometry)
    assert outputs[3] > 2 * len(people) > 0
    assert (iou_matrix(people.bbox, people.bbox)[~np.eye(len(people), dtype=bool)] < 0.65).all()


def test_a_model_that_lost_its_manifest_shows_nobody_twice(tmp_path):
    alone = tmp_path / DEFAULT_MODEL.name
    alone.write_bytes(DEFAULT_MODEL.read_bytes())
    frame = next(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4"))).image
    found, expected = (detect(load_detector(ModelConfig(path=path)), frame) for path in (alone, DEFAULT_MODEL))
    np.testing.assert_array_equal(found.bbox, expected.bbox)


def test_what_a_third_party_model_tells_apart_stays_apart():
    # It suppresses at an overlap of 0.6; these overlap by 0.57.
    beside = {**ONE_PERSON_TWICE, "boxes": np.array([[[0.1, 0.2, 0.5, 0.31], [0.1, 0.23, 0.5, 0.34]]], np.float32)}
    assert len(detect(fake_detector(beside), PICTURE)) == 2


def test_rows_of_others_take_no_part_in_the_box_of_a_person():
    outputs = {**ONE_PERSON_TWICE, "classes": np.array([[1, 0]], np.float32)}
    config = ModelConfig(path=Path("fake.tflite"), person_class=1)
    found = detect(TFLiteDetector([FakeInterpreter(outputs, TF1)], "fake", config, released_manifest(False)), PICTURE)
    np.testing.assert_allclose(found.bbox, [[128, 48, 192, 240]], rtol=1e-6)


def test_quantised_outputs_are_dequantised():
    outputs = {**TWO_PEOPLE_AND_A_DOG, "scores": np.array([[230, 51, 204]], np.uint8)}
    found = detect(fake_detector(outputs, quantization={"scores": (1 / 255, 0)}), PICTURE)
    np.testing.assert_allclose(found.score, [230 / 255, 51 / 255], rtol=1e-6)


def test_pixels_reach_each_input_type_as_training_has_them():
    pixels = np.array([[[0, 127, 255]]], np.uint8)
    spec = {"width": 1, "height": 1}
    assert scale_to_dtype(pixels, InputSpec(dtype="uint8", **spec)).tolist() == [[[0, 127, 255]]]
    assert scale_to_dtype(pixels, InputSpec(dtype="int8", **spec)).tolist() == [[[-128, -1, 127]]]
    scaled = scale_to_dtype(pixels, InputSpec(dtype="float32", **spec))
    np.testing.assert_allclose(scaled, [[[-1, -0.5 / 127.5, 1]]], atol=1e-6)


def test_the_released_model_is_mapped_by_its_manifest():
    detector = load_detector(ModelConfig())
    assert detector.mapping.found_by == "manifest"
    assert (detector.input.width, detector.input.height, detector.input.dtype) == (320, 320, "uint8")


def copy_model(folder: Path) -> Path:
    copy = folder / DEFAULT_MODEL.name
    copy.write_bytes(DEFAULT_MODEL.read_bytes())
    manifest_path(copy).write_text(manifest_path(DEFAULT_MODEL).read_text())
    return copy


def test_a_model_that_is_not_the_one_of_its_manifest_is_refused(tmp_path):
    copy = copy_model(tmp_path)
    copy.write_bytes(copy.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"has SHA-256 .* but its manifest says"):
        load_detector(ModelConfig(path=copy))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["input"].update(width=300), "its manifest says uint8 300x320"),
        (lambda m: m.update(colour="red"), "colour"),
        (lambda m: m["outputs"].update(boxes=2, scores=0), "correct the manifest"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_reason(tmp_path, change, said):
    copy = copy_model(tmp_path)
    content = json.loads(manifest_path(copy).read_text())
    change(content)
    manifest_path(copy).write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        load_detector(ModelConfig(path=copy))


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.tflite does not exist"):
        load_detector(ModelConfig(path=tmp_path / "nothing.tflite"))


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "not a TensorFlow Lite model"), (b"\x1c\0\0\0TFL3" + b"\0" * 40, "cannot be loaded")]
)
def test_a_damaged_model_is_refused(tmp_path, content, said):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_detector(ModelConfig(path=path))


def test_a_keras_model_is_told_for_what_it_is_not(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(UserError, match=r"model\.keras is not a TensorFlow Lite model; give a \.tflite file"):
        load_detector(ModelConfig(path=tmp_path / "model.keras"))


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; give a \.tflite file in it"):
        load_detector(ModelConfig(path=tmp_path))


@pytest.mark.skipif(not THIRD_PARTY.exists(), reason="../shared/data is not here")
def test_a_third_party_detector_works_without_a_manifest():
    detector = load_detector(ModelConfig(path=THIRD_PARTY))
    assert detector.mapping.found_by == "shape (TF1 order)"
    assert len(detect(detector, np.full((576, 768, 3), 128, np.uint8))) == 0


@pytest.mark.skipif(not COMPILED.exists(), reason="../shared/edge_tpu is not here")
@pytest.mark.parametrize("device", ["auto", "edgetpu", "cpu"])
def test_a_compiled_model_without_an_edge_tpu_says_what_to_do(device):
    with pytest.raises(UserError, match=r"compiled for the Edge TPU.*CPU twin"):
        load_detector(ModelConfig(path=COMPILED, device=device))


def test_inferences_side_by_side_find_what_one_after_the_other_finds():
    frames = [frame.image for frame in islice(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4")), 0, 120, 20)]
    one, several = (load_detector(ModelConfig(threads=2), side_by_side=aside) for aside in (False, True))
    assert (at_once(one), at_once(several)) == (1, 2)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(partial(detect, several), frames))
    for expected, got in zip((detect(one, frame) for frame in frames), found):
        np.testing.assert_array_equal(got.bbox, expected.bbox)
        np.testing.assert_array_equal(got.score, expected.score)


def test_what_one_inference_raises_leaves_its_interpreter_to_the_next(monkeypatch):
    detector = fake_detector()
    tensor, _ = detector.preprocess(PICTURE)
    with monkeypatch.context() as patch:
        patch.setattr(FakeInterpreter, "invoke", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            detector.invoke(tensor)
    assert detector.invoke(tensor)[3] == 3

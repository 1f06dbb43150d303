from __future__ import annotations

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from edge_app.errors import UserError
from training.data.augment import Augmentation, compose
from training.data.pictures import Example, fingerprint, load_examples
from training.train_config import load_train_config


def examples_set(folder, pictures=6):
    """Draw upright figures on noise, with exact boxes, and one ignored region."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    images, annotations = [], []
    for number in range(1, pictures + 1):
        image = rng.integers(60, 120, (240, 320, 3)).astype(np.uint8)
        for _ in range(2):
            x, y = int(rng.integers(10, 250)), int(rng.integers(10, 120))
            cv2.rectangle(image, (x, y), (x + 40, y + 100), (200, 180, 40), cv2.FILLED)
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1,
                                "bbox": [x, y, 40, 100], "iscrowd": 0})  # fmt: skip
        annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1,
                            "bbox": [0, 200, 320, 40], "iscrowd": 1})  # fmt: skip
        cv2.imwrite(str(folder / f"{number}.png"), image)
        images.append({"id": number, "file_name": f"{number}.png", "width": 320, "height": 240})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "labels.json").write_text(json.dumps(coco))
    return folder


def config_file(folder, **changes):
    content = {"train": [{"labels": "set"}], "image_size": 160, "batch_size": 2, "num_steps": 4, "save_every_steps": 2,
               "optimizer": {"learning_rate": 0.001, "warmup_steps": 1}, **changes}  # fmt: skip
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_boxes_follow_the_picture_through_every_augmentation():
    image = np.full((200, 200, 3), 60, np.uint8)
    image[40:160, 80:120] = (250, 250, 250)
    example = Example(cv2.imencode(".png", image)[1].tobytes(), np.array([[0.2, 0.4, 0.8, 0.6]]), np.zeros((0, 4)))
    calm = Augmentation(blur=0, jpeg=0, dark=0, noise=0)
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(40):
        pixels, people, _ = compose(lambda: example, 300, calm, rng)
        for y_min, x_min, y_max, x_max in people * 300:
            if y_max - y_min < 20 or x_max - x_min < 8:
                continue
            inside = pixels[int(y_min) + 3 : int(y_max) - 2, int(x_min) + 2 : int(x_max) - 1].mean()
            assert inside > pixels.mean() + 15
            seen += 1
    assert seen > 50


def test_nine_pictures_make_people_a_third_as_tall():
    image = np.full((200, 200, 3), 60, np.uint8)
    example = Example(cv2.imencode(".png", image)[1].tobytes(), np.array([[0.2, 0.4, 0.8, 0.6]]), np.zeros((0, 4)))
    heights = []
    for mosaic in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        options = Augmentation(mosaic=mosaic, scale=(0.999, 1.001), aspect=(0.999, 1.001))
        _, people, _ = compose(lambda: example, 300, options, np.random.default_rng(0))
        heights.append((people[:, 2] - people[:, 0]).mean())
    assert heights[0] == pytest.approx(0.6, abs=0.01)
    assert heights[1] == pytest.approx(0.2, abs=0.01)


def test_ignored_regions_are_read_and_kept_apart(tmp_path):
    example = load_examples(examples_set(tmp_path / "set"))[0]
    assert example.boxes.shape == (2, 4)
    np.testing.assert_allclose(example.ignored, [[200 / 240, 0, 1, 1]])


def test_the_fingerprint_of_pictures_tells_any_change():
    boxes, nothing = np.array([[0.1, 0.2, 0.3, 0.4]]), np.zeros((0, 4))
    first, second = Example(b"first", boxes, nothing), Example(b"second", boxes, nothing)
    prints = [
        fingerprint(sets)
        for sets in (
            [[first, second]],
            [[second, first]],
            [[first], [second]],
            [[first, Example(b"second", nothing, boxes)]],
            [[first, Example(b"second", boxes + 0.01, nothing)]],
        )
    ]
    assert len(set(prints)) == 5
    assert fingerprint([[Example(b"first", boxes.copy(), nothing), second]]) == prints[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, frozen_graph):
    """Folder of the set, and the weights after four steps in one go."""
    from training.train import train

    folder = tmp_path_factory.mktemp("train")
    examples_set(folder / "set")
    config = load_train_config(config_file(folder, fine_tune_checkpoint=str(frozen_graph.resolve())))
    return folder, config, train(config, folder / "whole")


def test_a_killed_run_goes_on_to_the_same_weights(undisturbed, monkeypatch):
    import keras

    import training.train as module

    folder, config, whole = undisturbed
    real = module.save_checkpoint

    def save_and_die(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        module.train(config, folder / "killed")
    monkeypatch.setattr(module, "save_checkpoint", real)
    resumed = module.train(config, folder / "killed")
    first, second = keras.models.load_model(whole), keras.models.load_model(resumed)
    for one, other in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_training_changes_the_weights(undisturbed, pretrained_model):
    import keras

    trained = keras.models.load_model(undisturbed[2])
    changed = [not np.array_equal(a, b) for a, b in zip(trained.get_weights(), pretrained_model.get_weights())]
    assert sum(changed) > 80


def test_another_configuration_does_not_go_on_in_the_same_folder(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    with pytest.raises(UserError, match="another configuration"):
        train(config.model_copy(update={"seed": 1}), folder / "whole")


def test_other_data_at_the_same_path_does_not_go_on_in_the_same_folder(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    labels = folder / "set" / "labels.json"
    before = labels.read_text()
    content = json.loads(before)
    content["annotations"][0]["bbox"][0] += 5
    try:
        labels.write_text(json.dumps(content))
        with pytest.raises(UserError, match="holds a run on other pictures or labels; give another --out or remove it"):
            train(config, folder / "whole")
    finally:
        labels.write_text(before)


def test_a_checkpoint_of_an_earlier_version_goes_on(undisturbed):
    from training.train import train

    folder, config, whole = undisturbed
    shutil.copytree(folder / "whole", folder / "earlier")
    for path in (folder / "earlier").glob("step_*/state.json"):
        state = json.loads(path.read_text())
        del state["data"]
        path.write_text(json.dumps(state))
    assert train(config, folder / "earlier").stat().st_size == whole.stat().st_size


def test_records_of_prepare_are_trained_on_like_their_pictures(undisturbed):
    import keras

    from training.prepare.checks import check_pictures
    from training.prepare.readers import read_source
    from training.prepare.records import Problems
    from training.prepare.tfrecord import write_shards
    from training.train import train

    folder, config, whole = undisturbed
    problems = Problems()
    write_shards({"train": list(check_pictures(read_source(folder / "set", problems), problems))}, folder)
    sets = (config.train[0].model_copy(update={"labels": None, "input_path": str(folder / "train-*.tfrecord")}),)
    records = keras.models.load_model(train(config.model_copy(update={"train": sets}), folder / "records"))
    for one, other in zip(records.get_weights(), keras.models.load_model(whole).get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_records_that_are_not_there_are_named(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    sets = (config.train[0].model_copy(update={"labels": None, "input_path": str(folder / "none-*.tfrecord")}),)
    with pytest.raises(UserError, match=r"no TFRecord file is named .*none-\*\.tfrecord"):
        train(config.model_copy(update={"train": sets}), folder / "none")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_stpes": 3}, "'num_stpes'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"train": []}, "'train'"),
        ({"train": [{"weight": 1}]}, "give either labels or input_path"),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        load_train_config(config_file(tmp_path, **changes))


def test_missing_and_broken_pictures_are_named(tmp_path):
    folder = examples_set(tmp_path / "set")
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png cannot be decoded"):
        load_examples(folder)
    (folder / "3.png").unlink()
    with pytest.raises(UserError, match=r"3\.png is missing"):
        load_examples(folder)


def test_curves_are_written_for_tensorboard(undisturbed):
    import tensorflow as tf

    folder, _, whole = undisturbed
    assert whole.parent == folder / "whole"
    points = {}
    for file in sorted((whole.parent / "tensorboard").glob("events*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                points[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert {step for _, step in points} == {2, 4}
    assert points["loss", 4] == pytest.approx(points["localization", 4] + points["classification", 4], rel=1e-4)
    assert points["learning_rate", 2] > points["learning_rate", 4] >= 0


def test_quantised_training_starts_from_the_float_model_and_exports(undisturbed):
    import keras

    from training.export.convert import Conversion, convert
    from training.importing.weights import load_exportable
    from training.quantization.blocks import ranges_of
    from training.train import train
    from training.train_config import QuantizationConfig

    folder, config, whole = undisturbed
    changes = {"fine_tune_checkpoint": whole, "quantization": QuantizationConfig(calibration_batches=2, delay=1),
               "distillation_weight": 1.0}  # fmt: skip
    path = train(config.model_copy(update=changes), folder / "qat")
    model = keras.models.load_model(path)
    assert all(float(layer.enabled) == 1 and float(layer.high) > float(layer.low) for layer in ranges_of(model))
    assert len(convert(load_exportable(path), Conversion("qat", "uint8", strict=True))) > 3e6


def test_a_run_fits_its_anchors_and_keeps_them_in_the_model(undisturbed):
    import keras

    from training.model.ssdlite import shapes_of
    from training.train import train
    from training.train_config import AnchorConfig

    folder, config, _ = undisturbed
    changes = {"anchor_generator": AnchorConfig(fit_per_map=(3, 2, 1, 1, 1, 1)), "num_steps": 1}
    model = keras.models.load_model(train(config.model_copy(update=changes), folder / "fitted"))
    # The figures of the set are 40 wide and 100 of 240 high, stretched to a square: 0.125 x 0.42 before the zoom.
    sizes = {(shape.height, shape.width) for shape in shapes_of(model)[0]}
    assert len(sizes) == 3
    assert all(0.15 < width / height < 0.6 for height, width in sizes)


def test_one_batch_on_two_devices_is_one_batch(undisturbed):
    """Two logical CPUs; TensorFlow makes them only before it starts, so in a process of its own."""
    folder, _, _ = undisturbed
    path = folder / "train.yaml"
    content = yaml.safe_load(path.read_text())
    content |= {"devices": ["CPU:0", "CPU:1"], "num_steps": 2, "save_every_steps": 1}
    (folder / "two.yaml").write_text(yaml.safe_dump(content))
    code = (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "from pathlib import Path\n"
        "from training.train import train\n"
        "from training.train_config import load_train_config\n"
        f"print(train(load_train_config(Path({str(folder / 'two.yaml')!r})), Path({str(folder / 'two')!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "two" / "model.keras").is_file()
    assert "step 2 of 2: loss" in done.stdout.replace("localization", "loss")


def test_a_set_without_anybody_is_named(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    empty = examples_set(folder / "nobody", pictures=2)
    coco = json.loads((empty / "labels.json").read_text())
    coco["annotations"] = [entry for entry in coco["annotations"] if entry["iscrowd"]]
    (empty / "labels.json").write_text(json.dumps(coco))
    sets = (config.train[0].model_copy(update={"labels": empty}),)
    with pytest.raises(UserError, match="nobody has no labelled person"):
        train(config.model_copy(update={"train": sets}), folder / "empty")


def test_a_class_that_the_checkpoint_does_not_have_is_named(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    with pytest.raises(UserError, match=r"has 1 classes besides the background, so class 2 can't be the person"):
        train(config.model_copy(update={"person_class": 2}), folder / "classes")


def test_processes_make_the_very_batches_that_one_makes(undisturbed):
    from training.data.batches import Batches, BatchOptions

    examples = load_examples(undisturbed[0] / "set")
    anchors = np.array([[0.5, 0.5, 0.4, 0.2], [0.3, 0.6, 0.8, 0.4]])
    batches = Batches([(examples, 1.0)], anchors, Augmentation(scenes=0.5), BatchOptions(2, 96, 3, 0.5, 0.5, 127.5))
    alone, together = list(batches.stream(1, 4)), list(batches.stream(1, 4, workers=2, cached_pictures=4))
    assert len(alone) == len(together) == 3
    for (pixels, targets), (others, other_targets) in zip(alone, together):
        np.testing.assert_array_equal(pixels, others)
        for name, values in targets.items():
            np.testing.assert_array_equal(values, other_targets[name])


def test_only_the_named_layers_are_trained(undisturbed):
    import keras

    from training.train import train

    folder, config, _ = undisturbed
    only = {"update_trainable_variables": ("BoxEncodingPredictor",), "localization_loss": "weighted_giou"}
    start = keras.models.load_model(train(config.model_copy(update={"num_steps": 1}), folder / "start"), compile=False)
    start.save(folder / "start.keras")
    changes = {**only, "fine_tune_checkpoint": folder / "start.keras", "num_steps": 2}
    found = keras.models.load_model(train(config.model_copy(update=changes), folder / "boxes"), compile=False)
    changed = set()
    for before, after in zip(start.layers, found.layers):
        if any(not np.array_equal(a, b) for a, b in zip(before.get_weights(), after.get_weights())):
            changed.add(before.name)
    assert changed
    assert all("BoxEncodingPredictor" in name for name in changed)


def test_layers_that_are_not_there_are_refused(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    only = {"update_trainable_variables": ("BoxEncodingPredictor", "NoSuchLayer")}
    with pytest.raises(UserError, match=r"'update_trainable_variables': no layer matches 'NoSuchLayer'"):
        train(config.model_copy(update=only), folder / "none")


def test_new_layers_do_not_stay_at_random(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    changes = {"finest_stride": 8, "update_trainable_variables": ("BoxPredictor_5",)}
    with pytest.raises(UserError, match=r"start anew would stay at random: BoxPredictor_\d.* 'finest_stride'"):
        train(config.model_copy(update=changes), folder / "random")


def test_a_key_that_is_there_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("train: [{labels: set}]\nseed: 1\nseed: 2\n")
    with pytest.raises(UserError, match=r"train\.yaml: not valid YAML at line 3, .*'seed' is there already"):
        load_train_config(path)


def test_a_wrong_regular_expression_is_refused_with_its_key(tmp_path):
    examples_set(tmp_path / "set")
    with pytest.raises(UserError, match=r"'freeze_variables': .*'\('.* is no regular expression"):
        load_train_config(config_file(tmp_path, freeze_variables=["("]))


def test_training_by_overlap_lowers_its_loss_on_what_it_sees(undisturbed):
    from training.train import train

    folder, config, _ = undisturbed
    losses = []
    for steps in (1, 12):
        changes = {"loss": "overlap", "num_steps": steps, "save_every_steps": steps}
        out = folder / f"overlap{steps}"
        train(config.model_copy(update=changes), out)
        losses.append(_mean_overlap_loss(out, folder))
    assert losses[1] < losses[0]


def _mean_overlap_loss(out, folder):
    import keras

    from training.data.batches import Batches, BatchOptions
    from training.model.losses import quality_loss
    from training.model.ssdlite import anchors_of

    detector = keras.models.load_model(out / "model.keras", compile=False)
    examples = load_examples(folder / "set")
    batches = Batches([(examples, 1.0)], anchors_of(detector), Augmentation(), BatchOptions(4, 160, 9, 0.5, 0.5, 127.5))
    total = 0.0
    for inputs, targets in (batches.batch(step) for step in range(4)):
        said = detector(inputs, training=False)
        labels = targets["boxes"], targets["person"], targets["weight"]
        total += sum(float(part) for part in quality_loss(said["box_encodings"], said["class_logits"], *labels))
    return total

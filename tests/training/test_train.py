from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

from edge_app.errors import UserError
from training.data.augment import Augmentation, compose
from training.data.pictures import Example, load_examples
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
    example = Example(image, np.array([[0.2, 0.4, 0.8, 0.6]]), np.zeros((0, 4)))
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
    example = Example(image, np.array([[0.2, 0.4, 0.8, 0.6]]), np.zeros((0, 4)))
    heights = []
    for mosaic in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        options = Augmentation(mosaic=mosaic, scale=(0.999, 1.001), aspect=(0.999, 1.001))
        _, people, _ = compose(lambda: example, 300, options, np.random.default_rng(0))
        heights.append((people[:, 2] - people[:, 0]).mean())
    assert heights[0] == pytest.approx(0.6, abs=0.01)
    assert heights[1] == pytest.approx(0.2, abs=0.01)


def test_ignored_regions_are_read_and_kept_apart(tmp_path):
    example = load_examples(examples_set(tmp_path / "set"))[0].load()
    assert example.boxes.shape == (2, 4)
    np.testing.assert_allclose(example.ignored, [[200 / 240, 0, 1, 1]])


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
    real = module._save

    def save_and_die(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        module.train(config, folder / "killed")
    monkeypatch.setattr(module, "_save", real)
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"num_stpes": 3}, "'num_stpes'"), ({"batch_size": 0}, "'batch_size'"), ({"train": []}, "'train'")],
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

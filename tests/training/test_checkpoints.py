"""TensorFlow 1 checkpoints and graphs with many classes."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.errors import UserError
from training.importing.frozen_graph import _names_of
from training.importing.weights import load_exportable
from training.model.ssdlite import build_ssdlite


@pytest.fixture(scope="module")
def many_classes(tmp_path_factory):
    """A TensorFlow 1 checkpoint of a narrow detector of five classes, as the OD API would write it, and the model."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("checkpoint")
    model = build_ssdlite(alpha=0.35, classes=5, batch_size=1)
    weights = [pair for layer in model.layers for pair in zip(_names_of(layer), layer.get_weights())]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in weights:
            tf.compat.v1.get_variable(name, initializer=value)
            tf.compat.v1.get_variable(f"{name}/RMSProp", initializer=np.zeros_like(value))
        tf.compat.v1.get_variable("global_step", initializer=np.int64(7))
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(folder / "model.ckpt"))
    return folder, prefix, model


def test_the_person_of_a_checkpoint_with_many_classes_is_kept(many_classes):
    from pathlib import Path

    _, prefix, model = many_classes
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    every = model(pixels)
    person = load_exportable(Path(prefix), person_class=3)(pixels)
    np.testing.assert_allclose(
        np.asarray(person["class_logits"]), np.asarray(every["class_logits"])[..., [0, 3]], atol=1e-4
    )
    np.testing.assert_allclose(np.asarray(person["box_encodings"]), np.asarray(every["box_encodings"]), atol=1e-4)


def test_a_class_that_the_checkpoint_does_not_have_is_named(many_classes):
    from pathlib import Path

    with pytest.raises(UserError, match=r"5 classes besides the background, so class 6 can't be the person"):
        load_exportable(Path(many_classes[1]), person_class=6)


def test_a_checkpoint_without_its_data_is_named(many_classes, tmp_path):
    folder = many_classes[0]
    (tmp_path / "model.ckpt.index").write_bytes((folder / "model.ckpt.index").read_bytes())
    with pytest.raises(UserError, match=r"model\.ckpt cannot be read; give all of its files"):
        load_exportable(tmp_path / "model.ckpt")

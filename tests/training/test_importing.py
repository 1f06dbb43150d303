from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_app.errors import UserError
from edge_app.preprocess import resize_to_input
from edge_app.source import VideoFile
from training.importing.frozen_graph import graph_weights, load_weights, raw_heads_function, read_graph
from training.model.ssdlite import anchors_of, build_ssdlite

PETS = Path("../shared/data/pets/vtest.avi")


def assert_equal_outputs(frozen_graph, model, image):
    pixels, _ = resize_to_input(image, 300, 300, "stretch")
    tensor = ((pixels.astype(np.float32) - 127.5) / 127.5)[None]
    boxes, logits = raw_heads_function(read_graph(frozen_graph))(tensor)
    outputs = model(tensor, training=False)
    assert np.abs(np.asarray(outputs["box_encodings"]) - boxes.reshape(1, -1, 4)).max() < 1e-3
    assert np.abs(np.asarray(outputs["class_logits"]) - logits).max() < 1e-3
    assert logits.max() > 2.0  # there are people in it: equal zeros would prove nothing


def test_the_keras_model_equals_the_frozen_graph_on_a_real_frame(frozen_graph, pretrained_model, street_frame):
    assert_equal_outputs(frozen_graph, pretrained_model, street_frame)


@pytest.mark.skipif(not PETS.exists(), reason="../shared/data is not here")
def test_the_keras_model_equals_the_frozen_graph_on_pets(frozen_graph, pretrained_model):
    for frame in VideoFile(PETS, fps=7.0):
        if frame.index in (0, 400, 700):
            assert_equal_outputs(frozen_graph, pretrained_model, frame.image)


def test_our_anchors_are_the_graphs_own(frozen_graph, pretrained_model):
    import tensorflow as tf

    graph = read_graph(frozen_graph)
    centre = "Postprocessor/Decode/get_center_coordinates_and_sizes"
    names = [f"{centre}/{part}:0" for part in ("add", "add_1", "sub_1", "sub")]
    run = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune("image_tensor:0", names)
    theirs = np.stack([part.numpy() for part in run(tf.zeros((1, 300, 300, 3), tf.uint8))], axis=1)
    np.testing.assert_allclose(anchors_of(pretrained_model), theirs, atol=1e-5)


def test_every_weight_must_be_used_and_every_place_filled(frozen_graph):
    weights = graph_weights(read_graph(frozen_graph))
    assert len(weights) == 404
    model = build_ssdlite(batch_size=1)
    with pytest.raises(UserError, match=r"1 weights of the graph have no place in the model, such as 'Extra/weights'"):
        load_weights(model, {**weights, "Extra/weights": np.zeros((1, 1, 3, 3), np.float32)})
    fewer = {name: value for name, value in weights.items() if name != "BoxPredictor_3/ClassPredictor/biases"}
    with pytest.raises(UserError, match="has no weight 'BoxPredictor_3/ClassPredictor/biases'"):
        load_weights(model, fewer)


def test_a_class_count_that_does_not_fit_is_said(frozen_graph):
    weights = graph_weights(read_graph(frozen_graph))
    with pytest.raises(UserError, match=r"ClassPredictor/weights' has the shape .* check the number of classes"):
        load_weights(build_ssdlite(classes=90, batch_size=1), weights)


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / "x.pb").write_bytes(b"\xff\xfe not a graph")
    with pytest.raises(UserError, match="not a frozen TensorFlow graph"):
        read_graph(tmp_path / "x.pb")
    with pytest.raises(UserError, match="does not exist; bring it with 'fetch-pretrained'"):
        read_graph(tmp_path / "y.pb")

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from edge_app.errors import UserError
from training.cli import cli
from training.importing.pipeline_config import PipelineReader, parse_text_format, read_pipeline_config
from training.train_config import load_train_config

# Written for this test after the schema of object_detection/protos (Apache-2.0), with the values that matter here.
PIPELINE = """
# an old experiment
model {
  ssd {
    num_classes: 90
    image_resizer { fixed_shape_resizer { height: 320 width: 320 } }
    feature_extractor { type: 'ssd_mobilenet_v2' depth_multiplier: 1.0 min_depth: 16 }
    anchor_generator {
      ssd_anchor_generator {
        num_layers: 6 min_scale: 0.15 max_scale: 0.9
        aspect_ratios: 1.0 aspect_ratios: 2.0 aspect_ratios: 0.5
      }
    }
    matcher { argmax_matcher { matched_threshold: 0.55 unmatched_threshold: 0.45 } }
    loss {
      classification_loss { weighted_sigmoid { } }
      localization_loss { weighted_smooth_l1: { } }
      hard_example_miner { num_hard_examples: 3000, max_negatives_per_positive: 4 min_negatives_per_image: 5 }
      classification_weight: 1.5
      localization_weight: 2
    }
    post_processing { batch_non_max_suppression { iou_threshold: 0.6 } }
  }
}
train_config: {
  batch_size: 24
  num_steps: 1000
  optimizer { rms_prop_optimizer: { learning_rate: { exponential_decay_learning_rate {
    initial_learning_rate: 0.004 decay_steps: 800720 } } } }
  fine_tune_checkpoint: "PATH_TO_BE_CONFIGURED/model.ckpt"
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { ssd_random_crop { } }
}
train_input_reader: {
  tf_record_input_reader { input_path: ["one.record", "two.record"] }
  label_map_path: "map.pbtxt"
}
eval_config { num_examples: 8000 }
graph_rewriter { quantization { delay: 48000 weight_bits: 8 activation_bits: 8 } }
"""


def test_an_old_experiment_is_carried_over_and_what_is_not_is_said(tmp_path):
    (tmp_path / "pipeline.config").write_text(PIPELINE)
    done = CliRunner().invoke(
        cli, ["import-config", str(tmp_path / "pipeline.config"), "--out", str(tmp_path / "train.yaml")]
    )
    assert done.exit_code == 0, done.output
    config = load_train_config(tmp_path / "train.yaml")
    assert (config.image_size, config.batch_size, config.num_steps) == (320, 24, 1000)
    assert (config.matched_threshold, config.unmatched_threshold) == (0.55, 0.45)
    assert (config.localization_weight, config.classification_weight) == (2, 1.5)
    assert config.hard_example_miner.max_negatives_per_positive == 4
    assert config.hard_example_miner.min_negatives_per_image == 5
    anchors = config.anchor_generator.ssd_anchor_generator
    assert anchors is not None
    assert (anchors.min_scale, anchors.max_scale, anchors.aspect_ratios) == (0.15, 0.9, (1.0, 2.0, 0.5))
    assert config.quantization is not None
    assert config.quantization.delay == 48000
    assert [item.input_path for item in config.train] == [str(tmp_path / "one.record"), str(tmp_path / "two.record")]
    assert config.fine_tune_checkpoint is None
    left = read_pipeline_config(tmp_path / "pipeline.config").left
    for part in ("num_classes 90", "rms_prop_optimizer", "0.004", "ssd_random_crop", "eval_config", "label_map_path",
                 "post_processing", "PATH_TO_BE_CONFIGURED"):  # fmt: skip
        assert any(part in line for line in left), part
    assert not any("random_horizontal_flip" in line for line in left)
    assert yaml.safe_load((tmp_path / "train.yaml").read_text())["augmentation"] == {"flip": 0.5}


def test_the_loss_of_boxes_is_taken_over_if_it_is_known_and_names_of_variables_are_told():
    loss = "model { ssd { feature_extractor { type: 'ssd_mobilenet_v2' } loss { localization_loss { %s { } } } } }"
    training = "train_config { update_trainable_variables: 'BoxPredictor' }"
    assert PipelineReader(loss % "weighted_giou", "p").config["localization_loss"] == "weighted_giou"
    assert "localization_loss" not in PipelineReader(loss % "weighted_smooth_l1", "p").config
    reader = PipelineReader(loss % "weighted_l2" + training, "p")
    assert "localization_loss" not in reader.config
    for part in ("weighted_l2: weighted_smooth_l1 is used", "update_trainable_variables: layers have other names"):
        assert any(part in line for line in reader.left), part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model { faster_rcnn { } }", "describes no SSD|does not describe an SSD"),
        ("model { ssd { feature_extractor { type: 'ssd_resnet50' } } }", "ssd_resnet50"),
        ("model { ssd {", "never closed"),
        ("model { } }", "line 1: '}' without"),
        ("model {\n ssd: }", "line 2: 'ssd' has no value"),
        ('model { a: "x', "unfinished text"),
    ],
)
def test_what_is_no_such_configuration_gets_one_clear_sentence(text, said):
    with pytest.raises(UserError, match=said):
        PipelineReader(text, "p.config")


def test_lists_numbers_words_and_comments_are_read():
    parsed = parse_text_format("a: [1, 2.5] # c\nb: WORD b: 'x' c < d: -1e-3 >", "p")
    assert parsed == {"a": [1, 2.5], "b": ["WORD", "x"], "c": [{"d": [-1e-3]}]}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_pipeline_config(tmp_path / "none.config")

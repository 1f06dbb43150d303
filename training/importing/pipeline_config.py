"""Reads ``pipeline.config`` of the TF Object Detection API (SSD, MobileNetV2) and makes our configuration from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

from edge_app.errors import UserError

Message = dict[str, list[Any]]

_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{}\[\]:,;<>]|[^\s{}\[\]:,;<>"'\#]+""")
_MAPS = 6


class PipelineReader:
    """One conversion: what was taken over, and what could not be.

    Attributes:
        config: our training configuration, as it is written to YAML.
        left: one sentence on each thing that was not carried over.
    """

    def __init__(self, text: str, name: str) -> None:
        """Convert.

        Args:
            text: content of the file, protocol buffer text format.
            name: of the file, for messages.

        Raises:
            UserError: the text is no pipeline configuration of an SSD.
        """
        self.config: dict[str, Any] = {}
        self.left: list[str] = []
        pipeline = parse_text_format(text, name)
        ssd = _one(_one(pipeline, "model"), "ssd")
        if not ssd:
            raise UserError(
                f"{name} does not describe an SSD (model {{ ssd {{ ... }} }}); other detectors can't be taken over"
            )
        self._model(ssd)
        self._training(_one(pipeline, "train_config"))
        self._data(pipeline)
        self._quantization(_one(_one(pipeline, "graph_rewriter"), "quantization"))
        for part in ("eval_config", "eval_input_reader"):
            if part in pipeline:
                self.left.append(f"{part}: measure with 'evaluate' and 'parity' instead")

    def _model(self, ssd: Message) -> None:
        classes = _scalar(ssd, "num_classes", 1)
        if classes != 1:
            self.left.append(
                f"num_classes {classes}: only the person is kept; set person_class to its id in the label map"
            )
            self.config["person_class"] = 1
        kind = _scalar(_one(ssd, "feature_extractor"), "type", "")
        if "mobilenet_v2" not in str(kind) or "fpn" in str(kind):
            raise UserError(f"feature extractor '{kind}' is not ssd_mobilenet_v2; other backbones can't be taken over")
        if _scalar(_one(ssd, "feature_extractor"), "depth_multiplier", 1.0) != 1.0:
            self.left.append("depth_multiplier: the width is that of fine_tune_checkpoint")
        self._input_size(_one(ssd, "image_resizer"))
        self._anchors(_one(_one(ssd, "anchor_generator"), "ssd_anchor_generator"))
        matcher = _one(_one(ssd, "matcher"), "argmax_matcher")
        for name in ("matched_threshold", "unmatched_threshold"):
            self._take(matcher, name)
        loss = _one(ssd, "loss")
        for name in ("localization_weight", "classification_weight"):
            self._take(loss, name)
        miner = _one(loss, "hard_example_miner")
        mined = {
            name: _scalar(miner, name, None)
            for name in ("max_negatives_per_positive", "min_negatives_per_image")
            if name in miner
        }
        if mined:
            self.config["hard_example_miner"] = mined
        for part, ours in (
            ("classification_loss", ("weighted_sigmoid",)),
            ("localization_loss", ("weighted_smooth_l1", "weighted_giou")),
        ):
            kind = next(iter(_one(loss, part)), ours[0])
            if kind not in ours:
                self.left.append(f"{part} {kind}: {ours[0]} is used")
            elif kind != ours[0]:
                self.config[part] = kind
        suppression = _one(_one(ssd, "post_processing"), "batch_non_max_suppression")
        if suppression:
            self.left.append(
                "post_processing: set when the model is exported (--max-detections), not when it is trained"
            )
        if str(_scalar(ssd, "freeze_batchnorm", "false")) == "true":
            self.config["freeze_batch_norm"] = True

    def _input_size(self, resizer: Message) -> None:
        fixed = _one(resizer, "fixed_shape_resizer")
        height, width = _scalar(fixed, "height", None), _scalar(fixed, "width", None)
        if height is None or width is None:
            self.left.append("image_resizer: only fixed_shape_resizer is known; image_size stays 300")
        elif height != width:
            self.left.append(f"image_resizer {width} x {height}: inputs are square; image_size is set to the height")
        if height is not None:
            self.config["image_size"] = height

    def _anchors(self, generator: Message) -> None:
        if not generator:
            self.left.append("anchor_generator: only ssd_anchor_generator is known; the checkpoint's anchors stay")
            return
        if _scalar(generator, "num_layers", _MAPS) != _MAPS:
            raise UserError(f"anchor_generator: num_layers is not {_MAPS}; other networks can't be taken over")
        anchors: dict[str, Any] = {
            name: _scalar(generator, name, None) for name in ("min_scale", "max_scale") if name in generator
        }
        if "aspect_ratios" in generator:
            anchors["aspect_ratios"] = list(generator["aspect_ratios"])
        self.config["anchor_generator"] = {"ssd_anchor_generator": anchors}
        if str(_scalar(generator, "reduce_boxes_in_lowest_layer", "true")) == "false":
            self.left.append("reduce_boxes_in_lowest_layer false: the lowest layer has its three anchors all the same")

    def _training(self, training: Message) -> None:
        for name in ("batch_size", "num_steps"):
            self._take(training, name)
        start = _scalar(training, "fine_tune_checkpoint", None)
        if start is not None and "PATH_TO" not in str(start):
            self.config["fine_tune_checkpoint"] = start
        elif start is not None:
            self.left.append(f"fine_tune_checkpoint {start}: a placeholder; training starts from the pretrained graph")
        for name in ("freeze_variables", "update_trainable_variables"):
            if name in training:
                self.left.append(f"{name}: layers have other names here; set it by those that Keras shows")
        optimizer = _one(training, "optimizer")
        if optimizer:
            kind = next((name for name in optimizer if name.endswith("optimizer")), "")
            rate = _learning_rate(_one(optimizer, kind))
            note = "" if rate is None else f"; its learning rate {rate:g} suits another optimiser and was not taken"
            self.left.append(f"{kind}: Adam with warm-up and cosine decay is used{note}")
        augmentation: dict[str, Any] = {}
        for option in training.get("data_augmentation_options", []):
            kind = next(iter(option), "")
            if kind == "random_horizontal_flip":
                augmentation["flip"] = 0.5
            else:
                self.left.append(
                    f"data augmentation {kind}: see 'augmentation', which has its own zoom, crop, light and blur"
                )
        if augmentation:
            self.config["augmentation"] = augmentation

    def _data(self, pipeline: Message) -> None:
        reader = _one(pipeline, "train_input_reader")
        paths = _one(reader, "tf_record_input_reader").get("input_path", [])
        self.config["train"] = [{"input_path": str(path)} for path in paths]
        if not paths:
            self.left.append("train_input_reader: no TFRecord is named; add your sets under 'train'")
        if "label_map_path" in reader:
            self.left.append(
                "label_map_path: records made by 'prepare' hold people only; set person_class for the checkpoint"
            )

    def _quantization(self, quantization: Message) -> None:
        if quantization:
            self.config["quantization"] = {
                name: _scalar(quantization, name, None)
                for name in ("delay", "weight_bits", "activation_bits")
                if name in quantization
            }

    def _take(self, message: Message, name: str) -> None:
        if name in message:
            self.config[name] = _scalar(message, name, None)


def read_pipeline_config(path: Path) -> PipelineReader:
    """Read and convert a file.

    Raises:
        UserError: the file is missing or no pipeline configuration of an SSD MobileNetV2.
    """
    try:
        return PipelineReader(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise UserError(f"pipeline configuration {path} does not exist; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"pipeline configuration {path} is not readable text; give a pipeline.config") from error


def parse_text_format(text: str, name: str) -> Message:
    """Parse protocol buffer text format without its schema: every field is a list of its values.

    Raises:
        UserError: braces don't match, or something is not ``field: value`` or ``field { ... }``.
    """
    tokens: list[tuple[str, int]] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise UserError(f"{name} line {_line(text, position)}: unfinished text; close the quotation mark")
        token = found.group()
        if not token.isspace() and not token.startswith("#"):
            tokens.append((token, position))
        position = found.end()
    message, used = _message(tokens, 0, None, (text, name))
    if used != len(tokens):
        raise UserError(f"{name} line {_line(text, tokens[used][1])}: '}}' without '{{'; correct the braces")
    return message


def _message(
    tokens: list[tuple[str, int]], index: int, closing: Optional[str], where: tuple[str, str]
) -> tuple[Message, int]:
    message: Message = {}
    while index < len(tokens) and tokens[index][0] not in ("}", ">"):
        field, position = tokens[index]
        index += 1
        if field in (",", ";"):
            continue
        colon = index < len(tokens) and tokens[index][0] == ":"
        index += colon
        value = tokens[index][0] if index < len(tokens) else ""
        if value in ("{", "<"):
            inner, index = _message(tokens, index + 1, "}" if value == "{" else ">", where)
            message.setdefault(field, []).append(inner)
        elif colon and value == "[":
            index += 1
            while index < len(tokens) and tokens[index][0] != "]":
                if tokens[index][0] != ",":
                    message.setdefault(field, []).append(_value(tokens[index][0]))
                index += 1
            index += 1
        elif colon and value and value not in ("}", ">", "]", ":"):
            message.setdefault(field, []).append(_value(value))
            index += 1
        else:
            text, name = where
            raise UserError(f"{name} line {_line(text, position)}: '{field}' has no value; write '{field}: value'")
    if closing is not None:
        if index >= len(tokens) or tokens[index][0] != closing:
            text, name = where
            raise UserError(f"{name}: a '{{' is never closed; correct the braces")
        index += 1
    return message, index


def _value(token: str) -> Any:
    if token[0] in "\"'":
        return token[1:-1]
    for kind in (int, float):
        try:
            return kind(token)
        except ValueError:
            continue
    return token


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _one(message: Message, name: str) -> Message:
    """Return the last message of a field, empty if there is none."""
    values = [value for value in message.get(name, []) if isinstance(value, dict)]
    return values[-1] if values else {}


def _scalar(message: Message, name: str, default: Any) -> Any:
    values = message.get(name)
    return values[-1] if values else default


def _learning_rate(optimizer: Message) -> Optional[float]:
    schedule = _one(optimizer, "learning_rate")
    for kind in schedule:
        for name in ("initial_learning_rate", "learning_rate_base", "learning_rate"):
            rate = _scalar(_one(schedule, kind), name, None)
            if isinstance(rate, (int, float)):
                return float(rate)
    return None

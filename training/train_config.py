"""The training configuration: one YAML file whose names follow the TF Object Detection API's pipeline config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_app.config import explain
from edge_app.errors import UserError
from edge_app.yaml_keys import parse_yaml

_FEATURE_MAPS = 6


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSetConfig(_Section):
    """One labelled set, and how often its pictures are drawn beside those of the others."""

    labels: Optional[Path] = Field(None, description="COCO JSON, or a folder with labels.json")
    input_path: Optional[str] = Field(
        None, description="TFRecord files of `prepare`, a pattern such as DIR/train-*.tfrecord"
    )
    weight: float = Field(1.0, gt=0)
    squeezed: float = Field(
        1.0, ge=0.2, le=5, description="what the pictures lost in width: 1.78 for 16:9 views that were made square"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> DataSetConfig:
        if (self.labels is None) == (self.input_path is None):
            raise ValueError("give either labels or input_path")
        return self


class AugmentationConfig(_Section):
    """See ``training.data.augment.Augmentation``."""

    mosaic: tuple[float, float, float] = (0.35, 0.4, 0.25)
    scale: tuple[float, float] = (0.7, 1.6)
    aspect: tuple[float, float] = (0.55, 1.15)
    scenes: float = Field(0.0, ge=0, le=1)
    groups: float = Field(0.0, ge=0, lt=1)
    clutter: float = Field(0.0, ge=0, le=20)
    flip: float = Field(0.5, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    jpeg: float = Field(0.3, ge=0, le=1)
    dark: float = Field(0.3, ge=0, le=1)
    noise: float = Field(0.2, ge=0, le=1)


class SsdAnchorConfig(_Section):
    """See ``training.model.anchors.AnchorGenerator``."""

    min_scale: float = Field(0.2, gt=0, lt=1)
    max_scale: float = Field(0.95, gt=0, le=1)
    aspect_ratios: tuple[float, ...] = Field((1.0, 2.0, 0.5, 3.0, 0.3333), min_length=1)


class AnchorConfig(_Section):
    """The anchors: the OD API's, or fitted to the people of the training sets as augmentation shows them."""

    ssd_anchor_generator: Optional[SsdAnchorConfig] = Field(
        None, description="None keeps the anchors of the checkpoint that training starts from"
    )
    fit_per_map: Optional[tuple[int, ...]] = Field(
        None, description="how many shapes to fit for each of the six feature maps; the OD API's where there are none"
    )

    @field_validator("fit_per_map")
    @classmethod
    def _six_counts(cls, value: Optional[tuple[int, ...]]) -> Optional[tuple[int, ...]]:
        if value is not None and (len(value) != _FEATURE_MAPS or min(value) < 1):
            raise ValueError(f"give {_FEATURE_MAPS} counts of at least 1, one for each feature map")
        return value


class MinerConfig(_Section):
    """See ``training.model.losses.HardExampleMiner``."""

    max_negatives_per_positive: float = Field(3.0, gt=0)
    min_negatives_per_image: float = Field(3.0, ge=0)


class OptimizerConfig(_Section):
    """Adam with warm-up and cosine decay; the weights that are kept are a moving average."""

    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = Field(100, ge=0)
    clip_norm: float = Field(10.0, gt=0)
    use_moving_average: float = Field(0.998, ge=0, lt=1)


class QuantizationConfig(_Section):
    """Quantisation-aware training (the OD API's ``graph_rewriter``)."""

    delay: int = Field(0, ge=0, description="steps in float before rounding starts")
    weight_bits: int = Field(8, ge=4, le=8)
    activation_bits: int = Field(8, ge=4, le=8)
    per_channel: bool = True
    freeze_ranges_after: Optional[int] = Field(
        0, ge=0, description="step from which ranges stand still; 0 keeps the calibrated ones, None never freezes"
    )
    calibration_batches: int = Field(24, ge=1)


class TrainConfig(_Section):
    """A whole training run."""

    fine_tune_checkpoint: Optional[Path] = Field(None, description="frozen graph, TF1 checkpoint or Keras model")
    person_class: int = Field(1, ge=1, description="class of a graph or checkpoint that is the person")
    train: tuple[DataSetConfig, ...] = Field(min_length=1)
    image_size: int = Field(300, ge=96, le=640)
    finest_stride: Literal[8, 16] = Field(16, description="of the feature maps; 8 for people under 40 pixels")
    batch_size: int = Field(8, ge=1, le=1024)
    num_steps: int = Field(2000, ge=1)
    seed: int = 0
    matched_threshold: float = Field(0.5, gt=0, le=1)
    unmatched_threshold: float = Field(0.5, gt=0, le=1)
    loss: Literal["mined", "overlap"] = Field(
        "mined", description="mined: smooth L1 and hard negatives; overlap: generalised IoU and quality focal loss"
    )
    localization_loss: Literal["weighted_smooth_l1", "weighted_giou"] = Field(
        "weighted_smooth_l1", description="of boxes, with loss mined; weighted_giou: generalised IoU"
    )
    localization_weight: float = Field(1.0, ge=0)
    classification_weight: float = Field(1.0, ge=0)
    hard_example_miner: MinerConfig = Field(default_factory=MinerConfig)
    quantization: Optional[QuantizationConfig] = None
    distillation_weight: float = Field(
        0.0, ge=0, description="of the difference to the model that training starts from"
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    devices: tuple[str, ...] = Field((), description="spread each batch over these, such as GPU:0 and GPU:1")
    workers: int = Field(0, ge=0, le=256, description="processes that make batches; 0 makes them in this one")
    cached_pictures: int = Field(0, ge=0, description="decoded pictures that each process keeps; 1 MB or so each")
    freeze_batch_norm: bool = True
    freeze_variables: tuple[str, ...] = Field(
        (), description="regular expressions: layers of these names stay as they are"
    )
    update_trainable_variables: tuple[str, ...] = Field(
        (), description="regular expressions: only layers of these names are trained; none given: all but the frozen"
    )
    save_every_steps: int = Field(200, ge=1)
    anchor_generator: AnchorConfig = Field(default_factory=AnchorConfig)
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)

    @field_validator("freeze_variables", "update_trainable_variables")
    @classmethod
    def _regular_expressions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return value


def load_train_config(path: Path) -> TrainConfig:
    """Read a training configuration; paths in it start from the file.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"training configuration {path} does not exist; check --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"training configuration {path} cannot be read ({error}); give a readable YAML file") from error
    content = parse_yaml(text, f"training configuration {path}")
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(f"training configuration {path}: {explain(error, TrainConfig)}; correct it") from error
    folder = path.resolve().parent
    sets = tuple(_from_folder(item, folder) for item in config.train)
    start = config.fine_tune_checkpoint
    return config.model_copy(update={"train": sets, "fine_tune_checkpoint": None if start is None else folder / start})


def _from_folder(item: DataSetConfig, folder: Path) -> DataSetConfig:
    if item.labels is not None:
        return item.model_copy(update={"labels": folder / item.labels})
    return item.model_copy(update={"input_path": str(folder / str(item.input_path))})

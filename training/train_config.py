"""The training configuration: one YAML file whose names follow the TF Object Detection API's pipeline config."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.errors import UserError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSetConfig(_Section):
    """One labelled set: COCO JSON and how often its pictures are drawn beside those of the others."""

    labels: Path
    weight: float = Field(1.0, gt=0)


class AugmentationConfig(_Section):
    """See ``training.data.augment.Augmentation``."""

    mosaic: tuple[float, float, float] = (0.35, 0.4, 0.25)
    scale: tuple[float, float] = (0.7, 1.6)
    aspect: tuple[float, float] = (0.55, 1.15)
    flip: float = Field(0.5, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    jpeg: float = Field(0.3, ge=0, le=1)
    dark: float = Field(0.3, ge=0, le=1)
    noise: float = Field(0.2, ge=0, le=1)


class OptimizerConfig(_Section):
    """Adam with warm-up and cosine decay; the weights that are kept are a moving average."""

    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = Field(100, ge=0)
    clip_norm: float = Field(10.0, gt=0)
    use_moving_average: float = Field(0.998, ge=0, lt=1)


class TrainConfig(_Section):
    """A whole training run."""

    fine_tune_checkpoint: Optional[Path] = Field(None, description="frozen graph or Keras model; None: pretrained")
    train: tuple[DataSetConfig, ...] = Field(min_length=1)
    image_size: int = Field(300, ge=96, le=640)
    batch_size: int = Field(8, ge=1, le=1024)
    num_steps: int = Field(2000, ge=1)
    seed: int = 0
    matched_threshold: float = Field(0.5, gt=0, le=1)
    unmatched_threshold: float = Field(0.5, gt=0, le=1)
    localization_weight: float = Field(1.0, ge=0)
    classification_weight: float = Field(1.0, ge=0)
    freeze_batch_norm: bool = True
    save_every_steps: int = Field(200, ge=1)
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)


def load_train_config(path: Path) -> TrainConfig:
    """Read a training configuration; paths in it start from the file.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"training configuration {path} does not exist; check --config") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"training configuration {path} is not readable YAML; correct it") from error
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"training configuration {path}: '{key}': {first['msg']}; correct that key") from error
    folder = path.resolve().parent
    sets = tuple(item.model_copy(update={"labels": folder / item.labels}) for item in config.train)
    start = config.fine_tune_checkpoint
    return config.model_copy(update={"train": sets, "fine_tune_checkpoint": None if start is None else folder / start})

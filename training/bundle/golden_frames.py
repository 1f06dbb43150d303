"""Makes golden frames: pictures, and what a model finds in them here."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.config import SAMPLE, ModelConfig
from edge_app.detector import RawOutputs, detect, load_detector
from edge_app.errors import UserError
from edge_app.model_store.golden import GoldenFrame, GoldenFrames, Tolerance
from edge_app.records import Detections, Image
from edge_app.source import VideoFile
from training.runtimes.same_boxes import LEAST_IOU, MOST_SCORE

SAMPLE_CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
_SAMPLE_SOURCE = (
    "PETS 2009 S2.L1 view 001, University of Reading, free for academic and industrial research with the source "
    "acknowledged (J. Ferryman and A. Shahrokni, PETS2009: Dataset and Challenge, 2009)"
)
_FOLDER = "golden"
# People under this score are not listed.
_MIN_SCORE = 0.3
# Reference kernels compute the same numbers, bit for bit, in every runtime and on x86-64 as on ARM.
_REFERENCE = Tolerance(iou=LEAST_IOU, score=MOST_SCORE)
# Fast kernels of x86-64 round differently, layer after layer, until another of two anchors of one person wins. Frames
# on which that happens here are not taken; on the others, other runtimes were off by no more than IoU 0.953 and 0.024.
_CPU = Tolerance(iou=0.9, score=1 / 16)
_CALM = Tolerance(iou=0.95, score=1 / 32)
# How far an Edge TPU is off was not measured on hardware: the limits tell another model or swapped outputs.
_EDGETPU = Tolerance(iou=0.6, score=0.2)
# So often scores are changed by chance, to see whether another of two anchors of one person would win.
_SHAKEN = 30
# Frames that are looked at for each one that is taken.
_LOOKED_AT = 12
# A score this near to the threshold, or to being suppressed, may come or go.
_CLEAR = 1 / 32


def make_golden_frames(model: Path, video: Path, count: int, source: str, out: Path) -> GoldenFrames:
    """Take frames of a video with people in them, and write them with what the model finds.

    Args:
        model: the CPU model.
        video: whose frames may be given away.
        count: of frames, spread over the video.
        source: where the video is from and its terms; may be left empty for the sample clip.
        out: folder for the pictures (in a folder of their own).

    Returns:
        The frames, with what reference kernels find; their scores stay clear of the threshold, and fast kernels find
        about the same, so that another runtime's rounding changes nobody.

    Raises:
        UserError: the video can't be read, has too few frames with people, or its terms are not given.
    """
    if not source and video.resolve() != SAMPLE_CLIP.resolve():
        raise UserError(
            "golden frames are given away with the bundle; say with --golden-source whose they are and on what terms"
        )
    detector, fast = (
        load_detector(ModelConfig(path=model, device="cpu", low_score_threshold=0.0, kernels=kernels))
        for kernels in ("reference", "fast")
    )
    candidates = []
    clip = VideoFile(video)
    for frame in islice(clip, 0, None, max(1, (clip.frame_count or 0) // (_LOOKED_AT * count))):
        tensor, geometry = detector.preprocess(frame.image)
        outputs = detector.invoke(tensor)
        found = detector.decode(outputs, geometry)
        people = found[found.score >= _MIN_SCORE]
        if len(people) == 0 or (np.abs(found.score - _MIN_SCORE) < _CLEAR).any():
            continue
        generator = np.random.default_rng(frame.index)
        shaken = (detector.decode(_shaken(outputs, generator), geometry) for _ in range(_SHAKEN))
        if _is_calm(people, detect(fast, frame.image)) and all(_is_calm(people, again) for again in shaken):
            candidates.append((frame.index, frame.image, people))
    if len(candidates) < count:
        raise UserError(
            f"the model finds people clearly in {len(candidates)} frames of {video.name} only, {count} are needed; "
            "give "
            "another --golden video or fewer --golden-frames"
        )
    chosen = [candidates[index] for index in np.linspace(0, len(candidates) - 1, count).astype(int)]
    (out / _FOLDER).mkdir()
    frames = []
    for index, image, people in chosen:
        name = f"{_FOLDER}/{index:06d}.png"
        _write(out / name, image)
        rows = [(*map(float, box), float(score)) for box, score in zip(np.round(people.bbox, 2), people.score)]
        frames.append(GoldenFrame(picture=name, people=tuple(rows)))
    return GoldenFrames(
        source=source or _SAMPLE_SOURCE,
        min_score=_MIN_SCORE,
        reference=_REFERENCE,
        cpu=_CPU,
        edgetpu=_EDGETPU,
        frames=tuple(frames),
    )


def _shaken(outputs: RawOutputs, generator: np.random.Generator) -> RawOutputs:
    """Return outputs whose scores are changed a little, as other kernels change them."""
    boxes, classes, scores, count = outputs
    change = generator.uniform(-_CALM.score, _CALM.score, scores.shape)
    return boxes, classes, np.clip(scores + change, 0.0, 1.0).astype(np.float32), count


def _is_calm(people: Detections, found: Detections) -> bool:
    """Tell whether other kernels find everybody again, nearly as they are."""
    overlaps = iou_matrix(people.bbox.astype(float), found.bbox.astype(float))
    best = overlaps.argmax(axis=1)
    apart = np.abs(people.score - found.score[best])
    return bool((overlaps.max(axis=1) >= _CALM.iou).all() and (apart <= _CALM.score).all())


def _write(path: Path, image: Image) -> None:
    # PNG, since decoders of JPEG differ by a grey level here and there.
    if not cv2.imwrite(str(path), image):
        raise UserError(f"picture {path} cannot be written; free space on the disk")

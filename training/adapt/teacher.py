"""The teacher: the detector on overlapping tiles, where people are larger, and tracking to fill what it misses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edge_app.box_decoding import non_maximum_suppression
from edge_app.box_overlap import iou_matrix, shared_area
from edge_app.config import TrackerConfig
from edge_app.records import BoolArray, Detections, FloatArray, Frame, Image
from edge_app.tracking.tracker import Tracker
from training.evaluation.predictors import Predictor

# Part of a tile that it shares with its neighbour: more than a person is wide, most are tall.
_OVERLAP = 0.35
# Distance to a tile's inner edge, parts of the tile, within which a box counts as cut off.
_EDGE = 0.01
_MERGE_IOU = 0.5
# A box of which this part lies in a better one is a piece of the same person.
_INSIDE = 0.8
_SURE_SCORE = 0.5
# Weaker detections are neither labels nor reason to ignore a place.
_LOWEST_SCORE = 0.2
# A track makes labels from this many sightings on, and if their mean score reaches the second figure.
_SIGHTINGS = 4
_TRACK_SCORE = 0.45
_LONGEST_GAP_S = 1.0


@dataclass(frozen=True)
class SiteLabels:
    """Labels of one frame, made by the teacher.

    Attributes:
        boxes: (N, 4) people, source pixels xyxy.
        score: (N,) the teacher's; 0.5 for those that tracking filled in.
        ignored: (M, 4) where there may be somebody.
    """

    boxes: FloatArray
    score: FloatArray
    ignored: FloatArray


def detect_on_tiles(predict: Predictor, image: Image, columns: int, rows: int) -> Detections:
    """Detect on the whole picture and on a grid of overlapping tiles of it, and merge.

    Args:
        predict: the detector.
        image: (H, W, 3) uint8 BGR.
        columns, rows: of the grid; 1 x 1 is the whole picture alone.
    """
    height, width = image.shape[:2]
    found = [predict(image)]
    if columns * rows > 1:
        for left, right in _spans(width, columns):
            for top, bottom in _spans(height, rows):
                seen = predict(np.ascontiguousarray(image[top:bottom, left:right]))
                boxes = seen.bbox + np.array([left, top, left, top], np.float32)
                whole = _whole(boxes, (left, top, right, bottom), (width, height))
                found.append(Detections(boxes[whole], seen.score[whole]))
    boxes = np.concatenate([part.bbox for part in found]).astype(np.float64)
    score = np.concatenate([part.score for part in found])
    kept = non_maximum_suppression(boxes, score, iou=_MERGE_IOU, most=300)
    kept = kept[~_pieces(boxes[kept])]
    return Detections(boxes[kept].astype(np.float32), score[kept])


def label_frames(
    frames: Iterable[Frame], predict: Predictor, columns: int, rows: int
) -> Iterator[tuple[Frame, Detections, FloatArray]]:
    """Detect and track; yields each frame with its detections and the track of each (-1: none)."""
    tracker = Tracker(TrackerConfig(coast_s=0.0), _SURE_SCORE)
    for frame in frames:
        detections = detect_on_tiles(predict, frame.image, columns, rows)
        tracks = tracker.update(frame.time_s, detections)
        owner = np.full(len(detections), -1.0)
        seen = tracks.observed
        if seen.any() and len(detections):
            iou = iou_matrix(tracks.bbox[seen].astype(np.float64), detections.bbox.astype(np.float64))
            best = iou.argmax(axis=1)
            sure = iou.max(axis=1) >= _MERGE_IOU
            owner[best[sure]] = tracks.id[seen][sure]
        yield frame, detections, owner


def site_labels(times: list[float], detections: list[Detections], owners: list[FloatArray]) -> list[SiteLabels]:
    """Turn detections and tracks of consecutive frames into labels.

    Sightings of good tracks and sure detections are labels; gaps of good tracks are filled by straight lines; what is
    left is ignored: there may be somebody, so nothing is learned there.
    """
    good = _good_tracks(detections, owners)
    filled: list[list[FloatArray]] = [[] for _ in times]
    for track in good:
        rows = [index for index, owner in enumerate(owners) if (owner == track).any()]
        boxes = [detections[index].bbox[owners[index] == track][0].astype(np.float64) for index in rows]
        for (first, box), (last, other) in zip(zip(rows, boxes), list(zip(rows, boxes))[1:]):
            gap_s = times[last] - times[first]
            if last - first > 1 and gap_s <= _LONGEST_GAP_S:
                for index in range(first + 1, last):
                    part = (times[index] - times[first]) / gap_s
                    filled[index].append((1 - part) * box + part * other)
    labels = []
    for found, owner, more in zip(detections, owners, filled):
        is_label = np.isin(owner, good) | (found.score >= _SURE_SCORE)
        extra: FloatArray = np.array(more, np.float64).reshape(-1, 4)
        # A gap may be one of the track only: the detection is there under another name.
        if len(extra) and is_label.any():
            extra = extra[iou_matrix(extra, found.bbox[is_label].astype(np.float64)).max(axis=1) < _MERGE_IOU]
        boxes = np.concatenate([found.bbox[is_label].astype(np.float64), extra])
        score = np.concatenate([found.score[is_label].astype(np.float64), np.full(len(extra), 0.5)])
        doubtful = ~is_label & (found.score >= _LOWEST_SCORE)
        labels.append(SiteLabels(boxes, score, found.bbox[doubtful].astype(np.float64)))
    return labels


def _good_tracks(detections: list[Detections], owners: list[FloatArray]) -> FloatArray:
    ids = np.concatenate(owners) if owners else np.zeros(0)
    scores = np.concatenate([found.score for found in detections]) if detections else np.zeros(0)
    good = [
        track
        for track in np.unique(ids[ids >= 0])
        if (ids == track).sum() >= _SIGHTINGS and scores[ids == track].mean() >= _TRACK_SCORE
    ]
    return np.array(good)


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    """Return overlapping spans of equal length that cover 0 to ``length``."""
    if parts == 1:
        return [(0, length)]
    size = length / (parts - (parts - 1) * _OVERLAP)
    starts = np.linspace(0, length - size, parts)
    return [(round(start), round(start + size)) for start in starts.tolist()]


def _whole(boxes: FloatArray, tile: tuple[int, int, int, int], picture: tuple[int, int]) -> BoolArray:
    """Tell which boxes do not touch an edge of the tile that lies inside the picture."""
    left, top, right, bottom = tile
    margin_x, margin_y = _EDGE * (right - left), _EDGE * (bottom - top)
    cut = (boxes[:, 0] < left + margin_x) & (left > 0)
    cut |= (boxes[:, 1] < top + margin_y) & (top > 0)
    cut |= (boxes[:, 2] > right - margin_x) & (right < picture[0])
    cut |= (boxes[:, 3] > bottom - margin_y) & (bottom < picture[1])
    whole: BoolArray = ~cut
    return whole


def _pieces(boxes: FloatArray) -> BoolArray:
    """Tell which of the boxes, best first, lie mostly inside a better one."""
    shared = shared_area(boxes[:, None], boxes[None])
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    inside = shared >= _INSIDE * area[:, None]
    pieces: BoolArray = np.tril(inside, -1).any(axis=1)
    return pieces

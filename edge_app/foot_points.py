"""Where people touch the ground: from the box's bottom, or from the head where the box is cut off.

With a calibrated camera a box says more than its bottom edge: its height must be that of a person who stands there.
Boxes of an impossible height are dropped, and so are boxes that show a person a second time; boxes that end at the
picture's border or behind another person get their foot from the head and an assumed body height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from edge_app.box_overlap import shared_area, touching_pairs
from edge_app.calibration.camera import CameraModel, PinholeCamera
from edge_app.records import BoolArray, Detections, FloatArray
from edge_app.tracking.motion import Measurements

# Adults with shoes, both sexes together: mean and spread, metres.
BODY_HEIGHT_M = 1.70
BODY_HEIGHT_SD_M = 0.09
# No one who stands is outside these, with generous room for the noise of a box: a child of three, a tall man.
_MIN_HEIGHT_M, _MAX_HEIGHT_M = 0.8, 2.6
# A box whose person would be shorter than this may be cut off; an uncut adult hardly ever reads so short.
_CUT_HEIGHT_M = 1.35
_BORDER_PX = 3.0
# Part of the box's bottom edge that another, nearer person must cover to count as hiding the feet.
_HIDDEN_PART = 0.5

# Boxes that overlap by more than this (IoU) show one person: two who stand half a metre behind one another, seen from
# low, reach 0.75. So do a box and one of part of the body, which is this much smaller, lies inside by this part of its
# area, and has its head no farther away than this part of the height.
_SAME_BOX = 0.8
_PART, _INSIDE, _SAME_HEAD = 0.75, 0.85, 0.1


@dataclass(frozen=True)
class FeetResult:
    """Detections that can be people, with their measurements.

    Attributes:
        detections: those that were kept.
        measurements: foot and height of each.
        dropped: number of boxes of an impossible height.
        duplicates: number of boxes that showed a person a second time.
        from_head: (N,) bool, the foot comes from the head.
    """

    detections: Detections
    measurements: Measurements
    dropped: int
    duplicates: int
    from_head: BoolArray


def find_feet(camera: Optional[CameraModel], detections: Detections, image_height: int) -> FeetResult:
    """Measure foot and height of every detection.

    Args:
        camera: only a pinhole camera knows heights; with any other, and with None, feet are the boxes' bottom centres.
        detections: N boxes, source pixels.
        image_height: of the source, pixels.
    """
    once = ~_shown_twice(detections)
    duplicates = int((~once).sum())
    if duplicates:
        detections = detections[once]
    plain = Measurements.from_boxes(detections.bbox)
    if not isinstance(camera, PinholeCamera) or len(detections) == 0:
        return FeetResult(detections, plain, 0, duplicates, np.zeros(len(detections), np.bool_))
    bbox = detections.bbox.astype(np.float64)
    feet = plain.position[:, :2]
    heads = np.column_stack([feet[:, 0], bbox[:, 1]])
    # One call for both: undistorting is the same work for one point and for fifty.
    straight = camera.normalise(np.concatenate([feet, heads]))
    straight_feet, straight_heads = straight[: len(feet)], straight[len(feet) :]
    implied_m = _implied_heights(camera, straight_feet, straight_heads)
    at_border = bbox[:, 3] >= image_height - _BORDER_PX
    short = ~(implied_m >= _CUT_HEIGHT_M)
    from_head = at_border | (short & _hidden_below(bbox))
    possible = from_head | ((implied_m >= _MIN_HEIGHT_M) & (implied_m <= _MAX_HEIGHT_M))
    dropped = int((~possible).sum())
    rows = np.flatnonzero(from_head)
    if len(rows) == 0:
        used = np.zeros(len(detections) - dropped, np.bool_)
        return FeetResult(detections[possible], plain[possible], dropped, duplicates, used)
    position, variance = plain.position.copy(), plain.variance.copy()
    foot_px, sd_px = _feet_from_heads(camera, straight_heads[rows])
    usable = np.isfinite(foot_px).all(axis=1) & np.isfinite(sd_px) & (foot_px[:, 1] > bbox[rows, 3] - _BORDER_PX)
    rows, foot_px, sd_px = rows[usable], foot_px[usable], sd_px[usable]
    position[rows, :2] = foot_px
    position[rows, 2] = foot_px[:, 1] - bbox[rows, 1]
    variance[rows] = Measurements.box_variance(position[rows, 2])
    variance[rows, 1:] += sd_px[:, None] ** 2
    used = np.zeros(len(detections), np.bool_)
    used[rows] = True
    return FeetResult(
        detections[possible],
        Measurements(position[possible], variance[possible]),
        dropped,
        duplicates,
        used[possible],
    )


def _shown_twice(detections: Detections) -> BoolArray:
    """Tell which boxes show a person whom a surer box shows: nearly the same box, or one inside with the same head.

    Two people never have their heads in one place. Whoever stands behind another has the head higher in the picture, or
    shows little more than it.
    """
    count = len(detections)
    if count < 2:
        return np.zeros(count, np.bool_)
    order = np.argsort(-detections.score, kind="stable")
    bbox = detections.bbox[order].astype(np.float64)
    # The few pairs that touch, the surer box of each first.
    first, second = touching_pairs(bbox)
    if len(first) == 0:
        return np.zeros(count, np.bool_)
    size = bbox[:, 2:] - bbox[:, :2]
    area, height = size.prod(axis=1), size[:, 1]
    shared = shared_area(bbox[first], bbox[second])
    iou = shared / np.maximum(area[first] + area[second] - shared, 1e-9)
    inside = shared / np.maximum(np.minimum(area[first], area[second]), 1e-9)
    tallest = np.maximum(height[first], height[second])
    head = np.column_stack([(bbox[:, 0] + bbox[:, 2]) / 2, bbox[:, 1]])
    same_head = (np.abs(head[first] - head[second]) < _SAME_HEAD * tallest[:, None]).all(axis=1)
    is_part = np.minimum(height[first], height[second]) < _PART * tallest
    same = (iou > _SAME_BOX) | ((inside > _INSIDE) & same_head & is_part)
    twice = np.zeros(count, np.bool_)
    # The surest box stays, and only boxes that stay make others a repetition; pairs come in that order.
    for surer, other in zip(first[same].tolist(), second[same].tolist()):
        if not twice[surer]:
            twice[other] = True
    result = np.zeros(count, np.bool_)
    result[order] = twice
    return result


def implied_heights(camera: PinholeCamera, feet_px: FloatArray, heads_px: FloatArray) -> FloatArray:
    """Return the (N,) heights, metres, of upright people with the given feet and heads, (N, 2) pixels.

    The head's image row fixes the height above the foot: one linear equation for each person. NaN above the horizon.
    """
    return _implied_heights(camera, camera.normalise(feet_px), camera.normalise(heads_px))


def _implied_heights(camera: PinholeCamera, feet: FloatArray, heads: FloatArray) -> FloatArray:
    """Do the same with (N, 2) undistorted image coordinates."""
    ground_m = camera.normalised_to_plane(feet, 0.0)
    down, depth = (ground_m @ camera.rotation[1:, :2].T + camera.translation_m[1:]).T
    up = camera.rotation[:, 2]
    row = heads[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (row * depth - down) / (up[1] - row * up[2])


def _feet_from_heads(camera: PinholeCamera, heads: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (N, 2) foot pixels of people of average height, and the (N,) pixels that one deviation changes.

    Args:
        camera: the calibration.
        heads: (N, 2) undistorted image coordinates.
    """
    heights_m = (BODY_HEIGHT_M, BODY_HEIGHT_M + BODY_HEIGHT_SD_M)
    places = np.concatenate([camera.normalised_to_plane(heads, height_m) for height_m in heights_m])
    feet, taller = np.split(camera.ground_to_image(places), 2)
    return feet, np.abs(taller[:, 1] - feet[:, 1])


def _hidden_below(bbox: FloatArray) -> BoolArray:
    """Tell which boxes have their bottom edge behind a box that reaches farther down, i.e. a nearer person."""
    left, top, right, bottom = bbox.T
    width = np.maximum(right - left, 1e-6)
    overlap = np.minimum(right[:, None], right[None]) - np.maximum(left[:, None], left[None])
    covers = overlap >= _HIDDEN_PART * width[:, None]
    spans_edge = (top[None] < bottom[:, None]) & (bottom[None] > bottom[:, None] + _BORDER_PX)
    return (covers & spans_edge).any(axis=1)

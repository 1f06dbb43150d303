"""One annotated picture: people hidden, overlay drawn, bird's-eye view in a corner."""

from __future__ import annotations

from typing import Optional

import cv2

from edge_app.records import FrameResult, Image
from edge_app.render import palette
from edge_app.render.birdseye import BirdsEye
from edge_app.render.overlay import draw_overlay
from edge_app.render.privacy import PrivacyMode, hide_people, people_boxes

# Share of the picture's width that the bird's-eye view takes, and its height in parts of its width.
_INSET, _INSET_SHAPE = 0.3, 0.8
# A lower one shows nothing, pixels.
_LOWEST_INSET = 24


def annotate(
    image: Image, result: FrameResult, birdseye: Optional[BirdsEye], privacy: PrivacyMode, *, inset: bool = True
) -> Image:
    """Return an annotated copy of a frame; the frame itself stays as it is.

    Args:
        image: (H, W, 3) uint8 BGR.
        result: of this frame.
        birdseye: None without a calibration.
        privacy: how people are hidden, before anything else happens.
        inset: put the bird's-eye view into a corner.
    """
    picture = hide_people(image, people_boxes(result), privacy)
    draw_overlay(picture, result, calibrated=birdseye is not None and result.in_metres)
    if birdseye is not None and inset:
        _put_inset(picture, birdseye, result)
    return picture


def _put_inset(picture: Image, birdseye: BirdsEye, result: FrameResult) -> None:
    """Put the bird's-eye view into the lower corner with fewer people."""
    height, width = picture.shape[:2]
    margin = max(4, width // 100)
    plan_height = min(round(_INSET * width * _INSET_SHAPE), height - 2 * margin)
    if plan_height < _LOWEST_INSET:
        return
    plan_width = round(plan_height / _INSET_SHAPE)
    plan = birdseye.render(result, (plan_width, plan_height))
    boxes = result.tracks.bbox
    low = boxes[:, 3] > height - plan.shape[0] - margin
    on_left = int((low & (boxes[:, 0] < plan_width + margin)).sum())
    on_right = int((low & (boxes[:, 2] > width - plan_width - margin)).sum())
    x = margin if on_left < on_right else width - plan_width - margin
    y = height - plan.shape[0] - margin
    picture[y : y + plan.shape[0], x : x + plan_width] = plan
    cv2.rectangle(picture, (x, y), (x + plan_width - 1, y + plan.shape[0] - 1), palette.GRID_LABEL, 1)

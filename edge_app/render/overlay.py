"""Draws what the pipeline found onto a picture."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.records import FrameResult, Image
from edge_app.render import palette
from edge_app.render.palette import Colour

_FONT = cv2.FONT_HERSHEY_DUPLEX


def draw_overlay(image: Image, result: FrameResult, *, calibrated: bool) -> None:
    """Draw boxes, ids, distances of violating pairs and the numbers of the frame, in place.

    Args:
        image: (H, W, 3) uint8 BGR; people are hidden already.
        result: of this frame.
        calibrated: whether distances are claimed.
    """
    violating = set(result.violating_people.tolist())
    seen = [row for row in range(len(result.tracks)) if result.tracks.observed[row]]
    _draw_pairs(image, result)
    for row in seen:
        person = int(result.tracks.id[row])
        _draw_person(image, result.tracks.bbox[row], person, person in violating)
    pairs = len(result.violating_pairs)
    said = f"{len(violating)} too close in {pairs} pair{'s' if pairs != 1 else ''}"
    if not calibrated:
        said = "no calibration: no distances claimed"
    minutes, seconds = divmod(result.time_s, 60)
    _draw_header(image, f"{int(minutes):02d}:{seconds:04.1f}   {len(seen)} people   {said}")


def draw_label(image: Image, text: str, x: int, y: int, background: Colour) -> None:
    """Write text on a filled label whose bottom left corner is (x, y), moved so that it stays in the picture."""
    scale, thickness = palette.font_scale(image.shape[0]), 1
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(2, height // 4)
    x = min(max(x, 0), max(image.shape[1] - width - 2 * pad, 0))
    y = min(max(y, height + 2 * pad), image.shape[0])
    cv2.rectangle(image, (x, y - height - 2 * pad), (x + width + 2 * pad, y), background, cv2.FILLED)
    light = sum(background) > 380
    ink = palette.SHADE if light else palette.INK
    cv2.putText(image, text, (x + pad, y - pad - baseline // 4), _FONT, scale, ink, thickness, cv2.LINE_AA)


def _draw_person(image: Image, bbox: np.ndarray, person: int, is_violating: bool) -> None:
    left, top, right, bottom = np.round(bbox).astype(int).tolist()
    width = palette.stroke(image.shape[0])
    colour = palette.VIOLATION if is_violating else palette.PERSON
    cv2.rectangle(image, (left, top), (right, bottom), colour, 2 * width if is_violating else width, cv2.LINE_AA)
    draw_label(image, str(person), left, top, colour)


def _draw_pairs(image: Image, result: FrameResult) -> None:
    rows = {int(person): row for row, person in enumerate(result.tracks.id.tolist())}
    distances = {
        (a, b): distance
        for a, b, distance in zip(
            result.pairs.id_a.tolist(), result.pairs.id_b.tolist(), result.pairs.distance_m.tolist()
        )
    }
    width = palette.stroke(image.shape[0])
    for a, b in result.violating_pairs.tolist():
        if a not in rows or b not in rows or (a, b) not in distances:
            continue
        first = tuple(np.round(result.tracks.foot[rows[a]]).astype(int).tolist())
        second = tuple(np.round(result.tracks.foot[rows[b]]).astype(int).tolist())
        cv2.line(image, first, second, palette.SHADE, 4 * width, cv2.LINE_AA)
        cv2.line(image, first, second, palette.VIOLATION, 2 * width, cv2.LINE_AA)
        middle_x, middle_y = (first[0] + second[0]) // 2, (first[1] + second[1]) // 2
        draw_label(image, f"{distances[a, b]:.1f} m", middle_x, middle_y + 12 * width, palette.VIOLATION)


def _draw_header(image: Image, text: str) -> None:
    scale = palette.font_scale(image.shape[0])
    (_, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    strip = image[: height + 2 * baseline + 6]
    strip[:] = (strip * 0.35).astype(np.uint8)
    cv2.putText(image, text, (10, height + baseline + 2), _FONT, scale, palette.INK, 1, cv2.LINE_AA)

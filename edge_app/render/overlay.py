"""Draws what the pipeline found onto a picture."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.counted import counted
from edge_app.records import FrameResult, Image
from edge_app.render import palette
from edge_app.render.labels import Labels

_FONT = cv2.FONT_HERSHEY_DUPLEX
# Where a label goes when its place is taken, in widths and heights of the label. A distance: below, beside, above.
_DISTANCE_SHIFTS = ((0, 0), (0, 1), (-1, 0), (1, 0), (0, 2), (-1, 1), (1, 1), (0, -2), (-1, -2), (1, -2), (0, 3))
# A number: above its box, in its upper corner, above that of a neighbour's.
_NUMBER_SHIFTS = ((0, 0), (0, 1), (0, -1), (0, 2))

# Distances that are written at most: in a crowd the picture has no room for more, and each costs time.
_MOST_DISTANCES = 60


def draw_overlay(image: Image, result: FrameResult, *, calibrated: bool) -> None:
    """Draw boxes, ids, distances of violating pairs and the numbers of the frame, in place.

    No label hides another: the shortest distances come first, what finds no place is left out.

    Args:
        image: (H, W, 3) uint8 BGR; people are hidden already.
        result: of this frame.
        calibrated: whether distances are claimed.
    """
    violating = set(result.violating_people.tolist())
    seen = [row for row in range(len(result.tracks)) if result.tracks.observed[row]]
    labels = Labels(image)
    pairs_drawn = _draw_lines(image, result)
    for row in seen:
        _draw_box(image, result.tracks.bbox[row], int(result.tracks.id[row]) in violating)
    pairs = len(result.violating_pairs)
    said = f"{len(violating)} too close in {counted(pairs, 'pair', 'pairs')}"
    if not calibrated:
        said = "no calibration: no distances claimed"
    minutes, seconds = divmod(result.time_s, 60)
    people = counted(len(seen), "person", "people")
    _draw_header(image, labels, f"{int(minutes):02d}:{seconds:04.1f}   {people}   {said}")
    for distance_m, x, y in sorted(pairs_drawn)[:_MOST_DISTANCES]:
        labels.put(f"{distance_m:.1f} m", x, y, palette.VIOLATION, _DISTANCE_SHIFTS)
    for row in seen:
        person = int(result.tracks.id[row])
        left, top = np.round(result.tracks.bbox[row, :2]).astype(int).tolist()
        colour = palette.VIOLATION if person in violating else palette.PERSON
        labels.put(str(person), left, top, colour, _NUMBER_SHIFTS)


def _draw_box(image: Image, bbox: np.ndarray, is_violating: bool) -> None:
    left, top, right, bottom = np.round(bbox).astype(int).tolist()
    width = palette.stroke(image.shape[0])
    colour = palette.VIOLATION if is_violating else palette.PERSON
    cv2.rectangle(image, (left, top), (right, bottom), colour, 2 * width if is_violating else width, cv2.LINE_AA)


def _draw_lines(image: Image, result: FrameResult) -> list[tuple[float, int, int]]:
    """Draw lines between violating pairs; return metres and where each is to be written, pixels."""
    places: list[tuple[float, int, int]] = []
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
        places.append((distances[a, b], middle_x, middle_y + 12 * width))
    return places


def _draw_header(image: Image, labels: Labels, text: str) -> None:
    scale = palette.font_scale(image.shape[0])
    (_, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    strip = image[: height + 2 * baseline + 6]
    labels.keep_free((0, 0, image.shape[1], len(strip)))
    strip[:] = (strip * 0.35).astype(np.uint8)
    cv2.putText(image, text, (10, height + baseline + 2), _FONT, scale, palette.INK, 1, cv2.LINE_AA)

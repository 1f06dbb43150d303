"""The bird's-eye view: people on the ground, in metres, seen from above."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.calibration import CameraModel
from edge_app.records import FloatArray, FrameResult, Image
from edge_app.render import palette

_FONT = cv2.FONT_HERSHEY_DUPLEX
# Ground farther than this from the nearest visible ground is left out: there a pixel is worth many metres.
_MAX_RANGE_M = 40.0
_BORDER_SAMPLES = 24
_PERSON_RADIUS_M = 0.3
_SUPERSAMPLE = 4  # bits of sub-pixel positions in OpenCV's drawing functions


class BirdsEye:
    """Draws positions on a plan of the ground that the camera sees.

    Attributes:
        outline_m: (K, 2) metres, the visible ground as a polygon.
        extent_m: x_min, y_min, x_max, y_max of the plan, metres.
        turn: (2, 2) rotation that turns the direction in which the camera looks up.
    """

    def __init__(self, camera: CameraModel, image_size: tuple[int, int]) -> None:
        """Lay out the plan for a camera and a picture of (width, height) pixels."""
        self.outline_m = visible_ground(camera, image_size)
        low, high = self.outline_m.min(axis=0), self.outline_m.max(axis=0)
        self.extent_m = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        # The picture's upward direction on the ground points up in the plan too, so that both read alike.
        self.turn = _upright_turn(camera, image_size)
        self._background: dict[tuple[int, int], tuple[Image, FloatArray, float]] = {}

    def render(self, result: FrameResult, size: tuple[int, int]) -> Image:
        """Draw one frame.

        Args:
            result: of the frame.
            size: (width, height) of the plan, pixels.

        Returns:
            (height, width, 3) uint8 BGR.
        """
        background, origin, scale = self._plan(size)
        plan = background.copy()
        violating = set(result.violating_people.tolist())
        places: dict[int, FloatArray] = {}
        for row in np.flatnonzero(result.ground.valid & result.tracks.observed):
            place = self._to_plan(result.ground.xy_m[row : row + 1], origin, scale)[0]
            places[int(result.tracks.id[row])] = place
        for a, b in result.violating_pairs.tolist():
            if a in places and b in places:
                cv2.line(plan, _fixed(places[a]), _fixed(places[b]), palette.VIOLATION, 2, cv2.LINE_AA, _SUPERSAMPLE)
        covariances = result.ground.whole_cov_m2
        for row in np.flatnonzero(result.ground.valid & result.tracks.observed):
            person = int(result.tracks.id[row])
            colour = palette.VIOLATION if person in violating else palette.PERSON
            self._draw_uncertainty(plan, places[person], covariances[row], scale, colour)
            radius = round(max(_PERSON_RADIUS_M * scale, 2.5) * 2**_SUPERSAMPLE)
            cv2.circle(plan, _fixed(places[person]), radius, colour, cv2.FILLED, cv2.LINE_AA, _SUPERSAMPLE)
        return plan

    def _draw_uncertainty(
        self, plan: Image, place: FloatArray, cov_m2: FloatArray, scale: float, colour: palette.Colour
    ) -> None:
        """Draw the one-sigma ellipse of a position: its box's noise and the error of the calibration."""
        turned = self.turn @ cov_m2 @ self.turn.T
        values, vectors = np.linalg.eigh(turned)
        # Plan rows grow downwards, so the angle turns the other way.
        angle = float(np.degrees(np.arctan2(-vectors[1, 1], vectors[0, 1])))
        axes = np.sqrt(np.maximum(values[::-1], 0.0)) * scale * 2**_SUPERSAMPLE
        cv2.ellipse(
            plan, _fixed(place), (round(axes[0]), round(axes[1])), angle, 0, 360, colour, 1, cv2.LINE_AA, _SUPERSAMPLE
        )

    def _plan(self, size: tuple[int, int]) -> tuple[Image, FloatArray, float]:
        if size not in self._background:
            self._background[size] = self._draw_background(size)
        return self._background[size]

    def _draw_background(self, size: tuple[int, int]) -> tuple[Image, FloatArray, float]:
        width, height = size
        turned = self.outline_m @ self.turn.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        pad = 0.04 * min(size)
        scale = float(
            min((width - 2 * pad) / max(high[0] - low[0], 1e-6), (height - 2 * pad) / max(high[1] - low[1], 1e-6))
        )
        centre = (low + high) / 2
        origin = np.array([width / 2 - scale * centre[0], height / 2 + scale * centre[1]])
        plan = np.full((height, width, 3), palette.SHADE, np.uint8)
        outline = np.round(self._to_plan(self.outline_m, origin, scale) * 2**_SUPERSAMPLE).astype(np.int32)
        cv2.fillPoly(plan, [outline], palette.GROUND, cv2.LINE_AA, _SUPERSAMPLE)
        self._draw_scale(plan, scale)
        cv2.polylines(plan, [outline], True, palette.GRID_LABEL, 1, cv2.LINE_AA, _SUPERSAMPLE)
        self._draw_grid(plan, outline, origin, scale)
        return plan, origin, scale

    def _draw_grid(self, plan: Image, outline: np.ndarray, origin: FloatArray, scale: float) -> None:
        """Draw a metre grid in the world's axes, only on ground that is seen."""
        step = _grid_step_m(scale)
        mask = np.zeros(plan.shape[:2], np.uint8)
        cv2.fillPoly(mask, [outline], (255,), cv2.LINE_8, _SUPERSAMPLE)
        lines = plan.copy()
        x_min, y_min, x_max, y_max = self.extent_m
        for x in np.arange(np.floor(x_min / step) * step, x_max + step, step):
            ends = self._to_plan(np.array([[x, y_min - step], [x, y_max + step]]), origin, scale)
            cv2.line(lines, _fixed(ends[0]), _fixed(ends[1]), palette.GRID, 1, cv2.LINE_AA, _SUPERSAMPLE)
        for y in np.arange(np.floor(y_min / step) * step, y_max + step, step):
            ends = self._to_plan(np.array([[x_min - step, y], [x_max + step, y]]), origin, scale)
            cv2.line(lines, _fixed(ends[0]), _fixed(ends[1]), palette.GRID, 1, cv2.LINE_AA, _SUPERSAMPLE)
        plan[mask > 0] = lines[mask > 0]

    def _draw_scale(self, plan: Image, scale: float) -> None:
        """Draw a bar of one grid step with its length."""
        step = _grid_step_m(scale)
        height = plan.shape[0]
        font = max(0.32, height / 900)
        start, end = (12, height - 12), (12 + round(step * scale), height - 12)
        cv2.line(plan, start, end, palette.INK, 2, cv2.LINE_AA)
        cv2.putText(plan, f"{step:g} m", (start[0], start[1] - 6), _FONT, font, palette.INK, 1, cv2.LINE_AA)

    def _to_plan(self, points_m: FloatArray, origin: FloatArray, scale: float) -> FloatArray:
        """Map (N, 2) metres to (N, 2) plan pixels."""
        turned = points_m @ self.turn.T
        return np.column_stack([origin[0] + scale * turned[:, 0], origin[1] - scale * turned[:, 1]])


def visible_ground(camera: CameraModel, image_size: tuple[int, int]) -> FloatArray:
    """Return the ground in the picture as a (K, 2) polygon in metres, up to 40 m beyond the nearest visible ground."""
    width, height = image_size
    rows = np.linspace(height, 0, 16 * _BORDER_SAMPLES)
    nearest = camera.image_to_ground(np.array([[width / 2, height]]))[0]
    left: list[FloatArray] = []
    right: list[FloatArray] = []
    for side, edge in ((0.0, left), (float(width), right)):
        column = camera.image_to_ground(np.column_stack([np.full(len(rows), side), rows]))
        usable = np.isfinite(column).all(axis=1) & (np.linalg.norm(column - nearest, axis=1) <= _MAX_RANGE_M)
        # Up to the first row that is too far or above the horizon.
        stop = int(np.argmin(usable)) if not usable.all() else len(usable)
        edge.extend(column[:stop])
    if not left or not right:
        return nearest + np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    bottom = camera.image_to_ground(
        np.column_stack([np.linspace(0, width, _BORDER_SAMPLES), np.full(_BORDER_SAMPLES, height)])
    )
    polygon = np.vstack([left[::-1], bottom[np.isfinite(bottom).all(axis=1)], right])
    return polygon[np.isfinite(polygon).all(axis=1)]


def _upright_turn(camera: CameraModel, image_size: tuple[int, int]) -> FloatArray:
    """Return the (2, 2) rotation that turns the picture's upward direction on the ground to +y."""
    width, height = image_size
    points = camera.image_to_ground(np.array([[width / 2, height], [width / 2, 0.75 * height]]))
    direction = points[1] - points[0]
    length = float(np.linalg.norm(direction))
    if not np.isfinite(length) or length < 1e-9:
        return np.eye(2)
    x, y = direction / length
    return np.array([[y, -x], [x, y]])


def _grid_step_m(scale: float) -> float:
    """Return a round number of metres that is 25 to 70 pixels wide."""
    return next((step for step in (0.5, 1.0, 2.0, 5.0, 10.0) if step * scale >= 25), 20.0)


def _fixed(point: FloatArray) -> tuple[int, int]:
    return round(float(point[0]) * 2**_SUPERSAMPLE), round(float(point[1]) * 2**_SUPERSAMPLE)

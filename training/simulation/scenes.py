"""Simulated cameras and people walking by: known truth, noisy boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_app.calibration import PinholeCamera
from edge_app.calibration.self_geometry import Lens, View, bent_focal, camera_of
from edge_app.records import BoolArray, FloatArray, IntArray, Tracks

SIZES = ((1280, 720), (1920, 1080), (768, 576))
# Adults of the people who walk: mean and spread.
HEIGHT_M, HEIGHT_SD_M = 1.70, 0.07
# Farther people are not walked with, and smaller ones are not detected.
_MAX_RANGE_M = 30.0
_MIN_BOX_PX = 25.0
# A camera that sees whole people on less ground than this is not one that watches people.
_MIN_AREA_M2 = 12.0
_MARGIN_PX = 6.0


@dataclass(frozen=True)
class Scene:
    """A camera over a place where people walk.

    Attributes:
        camera: the truth.
        hfov_deg: of the camera.
        region_m: (P, 2) points of a grid of the ground on which an average person is seen whole, metres.
    """

    camera: PinholeCamera
    hfov_deg: float
    region_m: FloatArray


@dataclass(frozen=True)
class Crowd:
    """How people walk and are seen.

    Attributes:
        people: number of people, always the same.
        seconds: duration.
        fps: frames a second.
        noise_px, noise_part: standard deviation of each box edge: pixels, and part of the box height, in squares.
        noise_time_s: time in which the error of a box is forgotten; 0 makes every frame's error new.
        scene_height_sd: relative spread, from scene to scene, of all heights together: other people, biased boxes.
        padding_sd: spread, from scene to scene, of what all boxes reach over people above and below, parts of the
            picture's width.
        together: part of the people who walk beside another one.
    """

    people: int = 10
    seconds: float = 180.0
    fps: float = 5.0
    noise_px: float = 2.0
    noise_part: float = 0.05
    scene_height_sd: float = 0.035
    padding_sd: float = 0.7e-3
    noise_time_s: float = 0.0
    together: float = 0.0


def random_scene(generator: np.random.Generator) -> Scene:
    """Draw cameras 2.2 to 12 m high, tilted 5° to 60°, of 40° to 110° field of view and ±5° roll, until one fits.

    Lenses are between a little pincushion and nearly equidistant ones (a bend of -0.03 to 0.3): barrel distortion of up
    to a third at the edge of the widest.
    """
    while True:
        width, height = SIZES[int(generator.integers(len(SIZES)))]
        lens = Lens(width, height, None)
        hfov_deg = generator.uniform(40, 110)
        bend = generator.uniform(-0.03, 0.3)
        view = View(
            np.deg2rad(generator.uniform(5, 60)),
            np.deg2rad(generator.uniform(-5, 5)),
            np.log(generator.uniform(2.2, 12.0)),
            np.log(bent_focal(lens, hfov_deg, bend)),
            bend,
        )
        scene = scene_of(camera_of(view, lens), hfov_deg)
        if len(scene.region_m) * 0.25 >= _MIN_AREA_M2:
            return scene


def scene_of(camera: PinholeCamera, hfov_deg: float) -> Scene:
    """Find the ground, on a grid of half a metre, where an average person is seen whole."""
    side, ahead = np.meshgrid(np.arange(-25, 25.1, 0.5), np.arange(0, _MAX_RANGE_M, 0.5))
    ground = np.column_stack([side.ravel(), ahead.ravel()])
    boxes = _boxes(camera, ground, np.full(len(ground), 1.75))
    return Scene(camera, hfov_deg, ground[_seen_whole(camera, boxes)])


@dataclass(frozen=True)
class SeenFrame:
    """What there is in one frame, and what is seen of it.

    Attributes:
        time_s: of the frame.
        tracks: the people who are seen whole, with noisy boxes; ``id`` is the person's number from 1.
        ground_m: (P, 2) where all people really stand, metres; person ``k`` in row ``k - 1``.
        exact_bbox: (N, 4) boxes of ``tracks`` without noise.
    """

    time_s: float
    tracks: Tracks
    ground_m: FloatArray
    exact_bbox: FloatArray


def walking_people(scene: Scene, crowd: Crowd, generator: np.random.Generator) -> Iterator[SeenFrame]:
    """Let people walk, and yield every frame.

    Heights are N(1.70, 0.07) m, speeds 1.0 to 1.6 m/s, each walker's own and steady; they walk straight from one place
    of the region to the next. The error of each box edge is correlated in time.
    """
    frames = int(crowd.seconds * crowd.fps)
    dt_s = 1 / crowd.fps
    bias = 1 + crowd.scene_height_sd * generator.standard_normal()
    padding_px = scene.camera.image_width * crowd.padding_sd * generator.standard_normal()
    heights = np.clip(generator.normal(HEIGHT_M, HEIGHT_SD_M, crowd.people), 1.4, 2.0) * bias
    paths = np.stack([_path(scene, generator.uniform(1.0, 1.6), frames, dt_s, generator) for _ in heights])
    _walk_together(paths, crowd.together, generator)
    keep = np.exp(-dt_s / crowd.noise_time_s) if crowd.noise_time_s > 0 else 0.0
    error = generator.standard_normal((crowd.people, 3))
    for frame in range(frames):
        boxes = _boxes(scene.camera, paths[:, frame], heights)
        length = boxes[:, 2] - boxes[:, 1]
        noisy = (
            boxes
            + [0.0, -padding_px, padding_px]
            + error * np.hypot(crowd.noise_px, crowd.noise_part * length)[:, None]
        )
        seen = _seen_whole(scene.camera, boxes) & (noisy[:, 2] > noisy[:, 1] + 2)
        yield SeenFrame(
            frame * dt_s, _tracks(np.flatnonzero(seen) + 1, noisy[seen]), paths[:, frame], _bbox(boxes[seen])
        )
        error = keep * error + np.sqrt(1 - keep**2) * generator.standard_normal(error.shape)


def near_pairs(scene: Scene, count: int, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw pairs of places, (count, 2) metres each, 0.5 to 4 m apart, spread evenly over the region."""
    first: list[FloatArray] = []
    second: list[FloatArray] = []
    while len(first) < count:
        a, b = scene.region_m[generator.integers(len(scene.region_m), size=2)]
        if 0.5 <= np.hypot(*(a - b)) < 4.0:
            first.append(a)
            second.append(b)
    return np.array(first), np.array(second)


def _path(scene: Scene, speed: float, frames: int, dt_s: float, generator: np.random.Generator) -> FloatArray:
    position = scene.region_m[generator.integers(len(scene.region_m))]
    target = position
    path = np.zeros((frames, 2))
    for frame in range(frames):
        way = target - position
        left = np.hypot(*way)
        if left < speed * dt_s:
            target = scene.region_m[generator.integers(len(scene.region_m))]
        else:
            position = position + way / left * speed * dt_s
        path[frame] = position
    return path


def _walk_together(paths: FloatArray, part: float, generator: np.random.Generator) -> None:
    """Let some of the people, (P, frames, 2) paths, walk 0.6 to 1.2 m beside the one before them, in place."""
    for person in range(1, len(paths), 2):
        if generator.random() < part:
            angle, gap_m = generator.uniform(0, 2 * np.pi), generator.uniform(0.6, 1.2)
            paths[person] = paths[person - 1] + gap_m * np.array([np.cos(angle), np.sin(angle)])


def _boxes(camera: PinholeCamera, ground: FloatArray, heights: FloatArray) -> FloatArray:
    """Return (N, 3) foot x, head y and foot y, pixels."""
    feet = camera.ground_to_image(ground)
    heads = camera.world_to_image(np.column_stack([ground, heights]))
    return np.column_stack([feet[:, 0], heads[:, 1], feet[:, 1]])


def _seen_whole(camera: PinholeCamera, boxes: FloatArray) -> BoolArray:
    x, top, bottom = boxes.T
    half_width = 0.2 * (bottom - top)
    with np.errstate(invalid="ignore"):
        inside = (x - half_width > _MARGIN_PX) & (x + half_width < camera.image_width - _MARGIN_PX)
        inside &= (top > _MARGIN_PX) & (bottom < camera.image_height - _MARGIN_PX)
        return inside & (bottom - top > _MIN_BOX_PX)


def _tracks(ids: IntArray, boxes: FloatArray) -> Tracks:
    count = len(boxes)
    return Tracks(
        ids.astype(np.int64),
        _bbox(boxes).astype(np.float32),
        np.ones(count, np.float32),
        boxes[:, ::2].copy(),
        np.zeros((count, 2, 2)),
        np.ones(count, np.bool_),
    )


def _bbox(boxes: FloatArray) -> FloatArray:
    """Turn (N, 3) foot x, head y and foot y into (N, 4) boxes of a person's width."""
    x, top, bottom = boxes.T
    half_width = 0.2 * (bottom - top)
    return np.stack([x - half_width, top, x + half_width, bottom], axis=1)

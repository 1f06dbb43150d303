"""Do stated errors of distances hold? Simulated cameras, people and boxes through tracker, plane and distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Optional

import numpy as np

from edge_app.calibration import CameraModel
from edge_app.calibration.points import Intrinsics, calibrate_points
from edge_app.calibration.pose import PoseErrors, camera_from_pose
from edge_app.calibration.self_calibrator import SelfCalibrator
from edge_app.config import Config
from edge_app.distances import measure_pairs
from edge_app.errors import UserError
from edge_app.ground_plane import locate
from edge_app.records import BoolArray, Detections, FloatArray, FrameResult, IntArray, Tracks
from training.simulation.recordings import recording_of
from training.simulation.scenes import HEIGHT_SD_M, Crowd, Scene, SeenFrame, random_scene, walking_people

Calibration = Literal["exact", "points", "lens-points", "rectangle", "pose", "self", "self-free"]
CALIBRATIONS: dict[Calibration, str] = {
    "exact": "known exactly",
    "points": "six ground points, clicked with 2 pixels of noise; nothing is known of the lens",
    "lens-points": "the same points, and the lens is known",
    "rectangle": "four corners of a rectangle; nothing is known of the lens",
    "pose": "measured height, tilt, roll, and the data sheet's field of view; no distortion is stated",
    "self": "people who walk by, and the data sheet's field of view; no distortion is stated",
    "self-free": "people who walk by, and nothing else",
}

# Pairs that stand farther apart are no question for this product.
_NEAR_M = 4.0
# Two-sided 90 % of a normal distribution.
_SD_OF_90 = 1.6449
# A tracker needs this long before its state is what it says.
_SETTLE_S = 2.0
_CLICK_PX_AT_1280 = 2.0
# How far data sheets are off, degrees.
_HFOV_SD_DEG = 1.0
_POINTS = 6


@dataclass(frozen=True)
class DistanceErrors:
    """All near pairs of a scene, of length M.

    Attributes:
        true_m, measured_m, sigma_m: distance, what is said of it, and the stated standard deviation.
    """

    true_m: FloatArray
    measured_m: FloatArray
    sigma_m: FloatArray

    def __len__(self) -> int:
        return len(self.true_m)

    @property
    def is_inside(self) -> BoolArray:
        """(M,) whether the true distance is inside the stated 90 % interval."""
        return np.abs(self.measured_m - self.true_m) <= _SD_OF_90 * self.sigma_m

    @property
    def relative_error(self) -> FloatArray:
        """(M,) absolute error over the true distance."""
        return np.abs(self.measured_m - self.true_m) / self.true_m

    @property
    def coverage(self) -> float:
        """Part of the true distances inside the stated 90 % interval."""
        return float(self.is_inside.mean())

    @property
    def median_relative_error(self) -> float:
        """Median of the relative error."""
        return float(np.median(self.relative_error))


def simulate_scene(
    seed: int, calibration: Calibration, crowd: Crowd, *, in_hindsight: bool = False
) -> tuple[Scene, Optional[DistanceErrors]]:
    """Draw a scene, calibrate it, let people walk, and measure their distances once a second.

    Args:
        seed: of everything.
        calibration: how the camera is known, see ``CALIBRATIONS``.
        crowd: how people walk and are seen.
        in_hindsight: measure as in a recording, not at once.

    Returns:
        The scene, and its errors; None where the calibration says that it is not sure.
    """
    generator = np.random.default_rng(seed)
    scene = random_scene(generator)
    camera = _calibrated(scene, calibration, crowd, generator)
    if camera is None:
        return scene, None
    rows = [np.zeros((0, 3))]
    for people, tracks, true_m in _followed(scene, camera, crowd, generator, in_hindsight):
        pairs = measure_pairs(people, locate(camera, tracks), 2.0)
        apart = np.hypot(*(true_m[pairs.id_a - 1] - true_m[pairs.id_b - 1]).T)
        near = (apart < _NEAR_M) & (apart > 0.5)
        rows.append(np.column_stack([apart, pairs.distance_m, pairs.sigma_m])[near])
    return scene, DistanceErrors(*np.vstack(rows).T)


def _calibrated(
    scene: Scene, calibration: Calibration, crowd: Crowd, generator: np.random.Generator
) -> Optional[CameraModel]:
    truth = scene.camera
    size = (truth.image_width, truth.image_height)
    if calibration == "exact":
        return truth
    if calibration in ("self", "self-free"):
        hfov_deg = scene.hfov_deg + generator.normal(0, _HFOV_SD_DEG) if calibration == "self" else None
        calibrator = SelfCalibrator(*size, hfov_deg=hfov_deg, person_height_sd_m=HEIGHT_SD_M)
        for frame in walking_people(scene, crowd, generator):
            calibrator.add(frame.time_s, frame.tracks)
        result = calibrator.result()
        return result.camera if result is not None and not result.unsure else None
    try:
        if calibration == "pose":
            return _measured_pose(scene, generator)
        points_m = _rectangle(scene) if calibration == "rectangle" else _spread_points(scene)
        pixels = truth.ground_to_image(points_m)
        pixels += generator.normal(0, _CLICK_PX_AT_1280 * size[0] / 1280.0, pixels.shape)
        lens = Intrinsics(truth.matrix, truth.distortion) if calibration == "lens-points" else None
        return calibrate_points(pixels, points_m, size, lens).camera
    except UserError:
        return None


def _measured_pose(scene: Scene, generator: np.random.Generator) -> CameraModel:
    """Return the camera as somebody with a tape measure and an inclinometer states it."""
    truth, sd = scene.camera, PoseErrors()
    down, right = -truth.rotation[2, 2], -truth.rotation[0, 2]
    tilt_deg = float(np.rad2deg(np.arcsin(down)))
    roll_deg = float(np.rad2deg(np.arcsin(right / np.sqrt(1 - down**2))))
    return camera_from_pose(
        (truth.image_width, truth.image_height),
        height_m=truth.position_m[2] + generator.normal(0, sd.height_m),
        tilt_deg=tilt_deg + generator.normal(0, sd.tilt_deg),
        roll_deg=roll_deg + generator.normal(0, sd.roll_deg),
        hfov_deg=scene.hfov_deg + generator.normal(0, sd.hfov_deg),
    )


def _spread_points(scene: Scene) -> FloatArray:
    """Return (6, 2) places that lie as far from one another as the seen ground allows: what the manual recommends."""
    region = scene.region_m
    chosen = [region[np.argmin(region @ np.array([1.0, 1.0]))]]
    while len(chosen) < _POINTS:
        apart = np.min([np.hypot(*(region - point).T) for point in chosen], axis=0)
        chosen.append(region[int(np.argmax(apart))])
    return np.array(chosen)


def _rectangle(scene: Scene) -> FloatArray:
    """Return the corners of the largest rectangle along the axes whose corners are all seen, among some tries."""
    region = scene.region_m
    seen = {(round(2 * x), round(2 * y)) for x, y in region.tolist()}
    best, area = region[:4], 0.0
    for low in region[:: max(1, len(region) // 40)]:
        for high in region[:: max(1, len(region) // 40)]:
            corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
            size = (high[0] - low[0]) * (high[1] - low[1])
            if high[0] > low[0] and size > area and all((round(2 * x), round(2 * y)) in seen for x, y in corners):
                best, area = corners, size
    return best


def _followed(
    scene: Scene, camera: CameraModel, crowd: Crowd, generator: np.random.Generator, in_hindsight: bool
) -> Iterator[tuple[IntArray, Tracks, FloatArray]]:
    """Track the people as the pipeline does; yields person numbers, their tracks and everybody's true place."""
    recording = recording_of(camera, Config(), in_hindsight=in_hindsight)
    every = max(1, round(crowd.fps))
    frames: dict[int, SeenFrame] = {}

    def same_people(results: list[FrameResult]) -> Iterator[tuple[IntArray, Tracks, FloatArray]]:
        for result in results:
            frame = frames.pop(result.index)
            if result.index % every == 0 and frame.time_s >= _SETTLE_S:
                people, tracks = _same_people(frame, result.tracks)
                yield people, tracks, frame.ground_m

    for number, frame in enumerate(walking_people(scene, crowd, generator)):
        frames[number] = frame
        seen = Detections(frame.tracks.bbox, frame.tracks.score)
        yield from same_people(recording.add(number, frame.time_s, seen))
    yield from same_people(recording.finish()[0])


def _same_people(frame: SeenFrame, tracks: Tracks) -> tuple[IntArray, Tracks]:
    """Return who each track is: the person whose noisy foot is nearest, within a quarter of the height."""
    tracks = tracks[tracks.observed]
    if len(tracks) == 0 or len(frame.tracks) == 0:
        return np.zeros(0, np.int64), tracks[np.zeros(len(tracks), np.bool_)]
    apart = np.hypot(*(tracks.foot[:, None] - frame.tracks.foot[None]).transpose(2, 0, 1))
    nearest = apart.argmin(axis=1)
    height = frame.tracks.bbox[nearest, 3] - frame.tracks.bbox[nearest, 1]
    close = apart.min(axis=1) < 0.25 * height
    people = frame.tracks.id[nearest]
    alone = np.bincount(people, minlength=len(frame.ground_m) + 1)[people] == 1
    kept = close & alone
    return people[kept], tracks[kept]

"""The work of the calibration page: from clicked points to a camera, its errors, a metre grid, a camera file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.calibration import CameraModel, save_camera
from edge_app.calibration.camera_file import add_reference, degenerate_reason
from edge_app.calibration.compare import homography_of
from edge_app.calibration.points import PointsCalibration, calibrate_points
from edge_app.calibration.points_fit import Intrinsics
from edge_app.calibration.scene_reference import Thumbnail, reference_of
from edge_app.calibration.self_geometry import Lens
from edge_app.errors import UserError
from edge_app.records import FloatArray
from edge_app.render.metre_grid import metre_lines
from edge_app.render.privacy import people_boxes
from edge_app.web.settings import Settings
from edge_app.web.site import CameraView

# Points of a grid line that are sent: enough for a line bent by the lens.
_LINE_POINTS = 24


def fit(
    points_px: FloatArray, points_m: FloatArray, image_size: tuple[int, int], hfov_deg: Optional[float]
) -> PointsCalibration:
    """Fit a camera to clicked points.

    Args:
        points_px, points_m: (N, 2) pixels of the picture and metres on the ground.
        image_size: width, height of the picture, pixels.
        hfov_deg: horizontal field of view where it is known.

    Raises:
        UserError: the points do not make a camera.
    """
    width, height = image_size
    lens = None
    if hfov_deg is not None:
        focal = Lens(width, height, None).focal_of(hfov_deg)
        lens = Intrinsics(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]))
    result = calibrate_points(points_px, points_m, image_size, lens)
    reason = degenerate_reason(result.camera)
    if reason:
        raise UserError(f"this calibration can't be used: {reason}; check the points")
    return result


def image_to_world(camera: CameraModel) -> list[list[float]]:
    """Return the homography from undistorted pixels to metres, row by row, its last number 1 where it can be."""
    matrix = homography_of(camera)
    last = matrix[2, 2]
    return np.asarray(matrix / last if abs(last) > 1e-12 else matrix).tolist()


def grid(camera: CameraModel, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the metre grid as lines in pixels: ``points`` and whether a line is ``bold``, every fifth one."""
    lines = []
    for line, bold in metre_lines(camera, image_size):
        thinned = line[:: max(1, len(line) // _LINE_POINTS)]
        whole = [row.tolist() if np.isfinite(row).all() else None for row in thinned.round(1)]
        for piece in _pieces(whole):
            lines.append({"points": piece, "bold": bold})
    return lines


def keep(camera: CameraModel, view: CameraView, settings: Settings, source: str, error: dict[str, float]) -> str:
    """Write a camera file beside the configuration file and return its name, as the configuration gives it.

    It gets a reference of the scene, people left out, by which it is noticed when the camera is moved. Each
    calibration gets a file of its own, so that a former one can be brought back.

    Raises:
        UserError: there is no configuration file, or the file cannot be written.
    """
    if settings.path is None:
        raise UserError("the program runs without a configuration file; start it with --config FILE to calibrate")
    folder = settings.path.resolve().parent
    path = _unused(folder, view.name)
    try:
        save_camera(camera, path, source=source, error=error)
        snapshot = view.runner.state.latest()
        if snapshot is not None:
            scene = Thumbnail(snapshot.frame.image, people_boxes(snapshot.result))
            add_reference(path, reference_of([scene]))
    except OSError as failed:
        raise UserError(f"camera file {path.name} cannot be written ({failed.strerror}); mend the folder") from failed
    return path.name


def _unused(folder: Path, camera_name: str) -> Path:
    number = 1
    while (path := folder / f"{camera_name}_calibration_{number}.yaml").exists():
        number += 1
    return path


def _pieces(points: list[Optional[list[float]]]) -> list[list[list[float]]]:
    """Split a line where it is not in the picture."""
    pieces: list[list[list[float]]] = [[]]
    for point in points:
        if point is None:
            pieces.append([])
        else:
            pieces[-1].append(point)
    return [piece for piece in pieces if len(piece) > 1]

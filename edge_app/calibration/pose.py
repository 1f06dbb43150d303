"""Calibration from what is known of a camera's mounting, and the older application's file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np

from edge_app.calibration.camera import HomographyCamera, PinholeCamera
from edge_app.calibration.distortion import UNKNOWN_BEND, UNKNOWN_BEND_SD
from edge_app.calibration.self_geometry import Lens, View, bent_focal, camera_of
from edge_app.errors import UserError
from edge_app.records import FloatArray

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CM_PER_M = 100.0


@dataclass(frozen=True)
class PoseErrors:
    """Standard errors of a camera's height (metres), tilt, roll and field of view (degrees).

    The defaults are those of a tape measure, a phone's inclinometer and a data sheet.
    """

    height_m: float = 0.05
    tilt_deg: float = 0.7
    roll_deg: float = 0.5
    hfov_deg: float = 1.0


def camera_from_pose(
    image_size: tuple[int, int],
    *,
    height_m: float,
    tilt_deg: float,
    roll_deg: float,
    hfov_deg: float,
    distortion: Optional[FloatArray] = None,
    sd: PoseErrors = PoseErrors(),
) -> PinholeCamera:
    """Make a camera of square pixels whose principal point is the centre.

    Args:
        image_size: width, height of the picture, pixels.
        height_m: of the camera over the ground.
        tilt_deg: how far it looks down from level.
        roll_deg: how far it is turned about its viewing direction.
        hfov_deg: horizontal field of view as a data sheet states it: the angle that the picture covers.
        distortion: (5,) of OpenCV's model; None where it is not known: then a lens between a rectilinear and an
            equidistant one is taken, and its doubt goes into the error.
        sd: how well these are known; the camera's alternatives.

    Raises:
        UserError: no such camera watches people on a ground.
    """
    checks = (
        ("height", height_m, 0.5, 100.0, "metres"),
        ("tilt", tilt_deg, -10.0, 90.0, "degrees"),
        ("roll", roll_deg, -45.0, 45.0, "degrees"),
        ("field of view", hfov_deg, 5.0, 150.0, "degrees"),
    )
    for name, value, low, high, unit in checks:
        if not low <= value <= high:
            raise UserError(f"the {name} must be {low:g} to {high:g} {unit}, not {value:g}; correct it")
    lens = Lens(*image_size, distortion)

    def lens_part(field_deg: float, bend: float) -> dict[str, float]:
        return {"log_focal": float(np.log(bent_focal(lens, field_deg, bend))), "bend": bend}

    bend = UNKNOWN_BEND if distortion is None else 0.0
    pose = (float(np.deg2rad(tilt_deg)), float(np.deg2rad(roll_deg)), float(np.log(height_m)))
    view = View(*pose, **lens_part(hfov_deg, bend))
    camera = camera_of(view, lens)
    others = (
        []
        if distortion is not None
        else [camera_of(view._replace(**lens_part(hfov_deg, bend + UNKNOWN_BEND_SD)), lens)]
    )
    others += [
        camera_of(view._replace(log_height=float(np.log(height_m + sd.height_m))), lens),
        camera_of(view._replace(tilt=float(np.deg2rad(tilt_deg + sd.tilt_deg))), lens),
        camera_of(view._replace(roll=float(np.deg2rad(roll_deg + sd.roll_deg))), lens),
        camera_of(view._replace(**lens_part(hfov_deg + sd.hfov_deg, bend)), lens),
    ]
    camera = replace(camera, alternatives=tuple(others))
    if not np.isfinite(camera.image_to_ground(np.array([[image_size[0] / 2, float(image_size[1])]]))).all():
        raise UserError("such a camera sees no ground at the bottom of its picture; tilt it more")
    return camera


def load_h_inv(path: Path, image_size: tuple[int, int]) -> HomographyCamera:
    """Read the older application's calibration: ``h_inv:`` and nine numbers, from pixels to centimetres.

    Args:
        path: of its text file.
        image_size: width, height of the picture that it was made for.

    Raises:
        UserError: the file is missing or holds no such matrix.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read; give the older application's h_inverse.txt") from error
    _, marker, rest = text.partition("h_inv")
    numbers = [float(found) for found in _NUMBER.findall(rest if marker else text)]
    if len(numbers) != 9:
        raise UserError(f"{path} holds {len(numbers)} numbers, not the nine of a homography; give h_inverse.txt")
    to_cm = np.array(numbers).reshape(3, 3)
    scaled = np.diag([1 / _CM_PER_M, 1 / _CM_PER_M, 1.0]) @ to_cm
    if abs(np.linalg.det(scaled / np.abs(scaled).max())) < 1e-15:
        raise UserError(f"the matrix in {path} is singular; calibrate again")
    return HomographyCamera(*image_size, scaled)

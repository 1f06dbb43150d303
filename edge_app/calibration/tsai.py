"""Reader for Tsai camera models in the XML form of the PETS 2009 data set."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree  # nosec B405

import numpy as np

from edge_app.calibration.camera import PinholeCamera
from edge_app.calibration.distortion import opencv_distortion
from edge_app.errors import UserError
from edge_app.records import FloatArray


def load_tsai_xml(path: Path) -> PinholeCamera:
    """Read a Tsai model (R. Tsai, IEEE J. Robotics and Automation 3(4), 1987) as an OpenCV pinhole camera.

    Tsai's model undistorts with ``u = d (1 + kappa r_d²)``, OpenCV's distorts with a polynomial in the undistorted
    radius; the polynomial is fitted over the picture, which leaves less than 0.01 pixel.

    Raises:
        UserError: the file is missing or not such an XML file.
    """
    try:
        if path.stat().st_size > 1 << 20:
            raise UserError(f"Tsai file {path} is larger than 1 MiB; give a PETS camera XML file")
        # A small file that its user names on the command line; expat itself stops entities that blow up.
        root = ElementTree.fromstring(path.read_bytes())  # nosec B314
        geometry, intrinsic, extrinsic = (_attributes(root, tag) for tag in ("Geometry", "Intrinsic", "Extrinsic"))
        return _camera(geometry, intrinsic, extrinsic)
    except FileNotFoundError as error:
        raise UserError(f"Tsai file {path} does not exist; check the path") from error
    except (OSError, ElementTree.ParseError, KeyError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"Tsai file {path} is not a PETS camera XML file ({error}); check its contents") from error


def _attributes(root: ElementTree.Element, tag: str) -> dict[str, float]:
    element = root.find(tag)
    if element is None:
        raise ValueError(f"no element <{tag}>")
    return {name: float(value) for name, value in element.attrib.items()}


def _camera(geometry: dict[str, float], intrinsic: dict[str, float], extrinsic: dict[str, float]) -> PinholeCamera:
    width, height = int(geometry["width"]), int(geometry["height"])
    focal_mm = intrinsic["focal"]
    fx = focal_mm * intrinsic["sx"] / geometry["dpx"]
    fy = focal_mm / geometry["dpy"]
    matrix = np.array([[fx, 0, intrinsic["cx"]], [0, fy, intrinsic["cy"]], [0, 0, 1]])
    corner_x = max(intrinsic["cx"], width - intrinsic["cx"]) / fx
    corner_y = max(intrinsic["cy"], height - intrinsic["cy"]) / fy
    distortion = opencv_distortion(intrinsic["kappa1"] * focal_mm**2, float(np.hypot(corner_x, corner_y)))
    rotation = _rotation(extrinsic["rx"], extrinsic["ry"], extrinsic["rz"])
    translation_m = np.array([extrinsic["tx"], extrinsic["ty"], extrinsic["tz"]]) / 1000.0
    return PinholeCamera(width, height, matrix, distortion, rotation, translation_m)


def _rotation(rx: float, ry: float, rz: float) -> FloatArray:
    """Return ``Rz @ Ry @ Rx`` for angles in radians, Tsai's order."""
    (sx, sy, sz), (cx, cy, cz) = np.sin([rx, ry, rz]), np.cos([rx, ry, rz])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x

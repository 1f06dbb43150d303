"""The camera file: YAML with either a pinhole camera and its pose, or a homography."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_app.atomic_file import write_atomically
from edge_app.calibration.camera import CameraModel, HomographyCamera, PinholeCamera
from edge_app.calibration.scene_reference import SceneReference
from edge_app.errors import UserError
from edge_app.yaml_keys import parse_yaml

Row3 = tuple[float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Distortion = tuple[float, float, float, float, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _ImageSize(_Section):
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class _Intrinsics(_Section):
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float


class _Reference(_Section):
    height: int = Field(ge=8, le=1000)
    edges: str = Field(max_length=200_000)


class _CameraFile(_Section):
    camera_file: Literal[1]
    image: _ImageSize
    source: str = ""
    error: Optional[dict[str, float]] = None
    reference: Optional[_Reference] = None


class _PinholeAlternative(_Section):
    intrinsics: _Intrinsics
    distortion: Optional[Distortion] = None
    rotation: Matrix3
    translation_m: Row3


class _HomographyAlternative(_Section):
    image_to_world: Matrix3
    bend: float = 0.0


class _PinholeFile(_CameraFile):
    type: Literal["pinhole"]
    alternatives: tuple[_PinholeAlternative, ...] = ()
    intrinsics: _Intrinsics
    distortion: Distortion = (0, 0, 0, 0, 0)
    rotation: Matrix3
    translation_m: Row3


class _HomographyFile(_CameraFile):
    type: Literal["homography"]
    alternatives: tuple[_HomographyAlternative, ...] = ()
    image_to_world: Matrix3
    bend: float = 0.0


def load_camera(path: Path) -> CameraModel:
    """Read and check a camera file.

    Raises:
        UserError: the file is missing, not a camera file, or describes a degenerate camera.
    """
    parsed = _parse(path, _read(path))
    camera = _pinhole(parsed) if isinstance(parsed, _PinholeFile) else _homography(parsed)
    reason = degenerate_reason(camera)
    if reason:
        raise UserError(f"camera file {path}: {reason}; calibrate the camera again")
    return camera


def load_reference(path: Path) -> Optional[SceneReference]:
    """Read what the scene looked like when the camera was calibrated; None where the file does not say.

    Raises:
        UserError: the file is missing or not a camera file, or the reference is damaged.
    """
    found = _parse(path, _read(path)).reference
    if found is None:
        return None
    try:
        return SceneReference.from_text(found.edges, found.height)
    except ValueError as error:
        raise UserError(
            f"camera file {path}: 'reference' is damaged ({error}); make it again with 'calibrate reference'"
        ) from error


def add_reference(path: Path, reference: SceneReference) -> None:
    """Put a reference into a camera file, in place of the one that is there.

    Raises:
        UserError: the file cannot be read.
        OSError: it cannot be written; it is as it was.
    """
    content = _read(path)
    if content.pop("reference", None) is None:
        # Keeps what people wrote into the file.
        text = path.read_text(encoding="utf-8").rstrip("\n") + "\n"
    else:
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110)
    write_atomically(path, text + yaml.safe_dump({"reference": _reference(reference)}, width=110))


def _parse(path: Path, content: dict[str, Any]) -> _PinholeFile | _HomographyFile:
    adapter: Any = {"pinhole": _PinholeFile, "homography": _HomographyFile}.get(str(content.get("type")))
    if adapter is None:
        raise UserError(f"camera file {path}: 'type' must be 'pinhole' or 'homography'; make one with 'calibrate'")
    try:
        parsed: _PinholeFile | _HomographyFile = adapter.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"camera file {path}: '{key}': {first['msg']}; correct that key") from error
    return parsed


def check_replaceable(path: Path) -> None:
    """Refuse to write a camera over something else.

    Raises:
        UserError: there is a file, and it is no camera file.
    """
    if not path.exists():
        return
    try:
        is_camera = "camera_file" in _read(path)
    except UserError:
        is_camera = False
    if not is_camera:
        raise UserError(f"{path} is there and is no camera file; give another --out")


def save_camera(
    camera: CameraModel,
    path: Path,
    *,
    source: str = "",
    error: Optional[dict[str, float]] = None,
    reference: Optional[SceneReference] = None,
) -> None:
    """Write a camera file.

    Args:
        camera: a pinhole or homography camera.
        path: where to.
        source: one sentence on where the calibration comes from.
        error: named residuals of the calibration, units in the names.
        reference: what the scene looks like now, so that a moved camera is noticed.
    """
    content: dict[str, Any] = {"camera_file": 1}
    image = {"width": camera.image_width, "height": camera.image_height}
    if isinstance(camera, PinholeCamera):
        content |= {"type": "pinhole", "image": image, **_pose(camera)}
        others = [_pose(other) for other in camera.alternatives]
    elif isinstance(camera, HomographyCamera):
        content |= {"type": "homography", "image": image, **_map(camera)}
        others = [_map(other) for other in camera.alternatives]
    else:
        raise TypeError(f"no file format for {type(camera).__name__}")
    if source:
        content["source"] = source
    if error:
        content["error"] = error
    if others:
        content["alternatives"] = others
    if reference is not None:
        content["reference"] = _reference(reference)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110))


def degenerate_reason(camera: CameraModel) -> str:
    """Say why a camera can't give distances on the ground, or return an empty string."""
    if isinstance(camera, PinholeCamera):
        rotation = camera.rotation
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            return "'rotation' is not a rotation matrix"
        if camera.position_m[2] <= 0:
            return f"the camera would stand {-camera.position_m[2]:.2f} m below the ground"
    if isinstance(camera, HomographyCamera):
        scaled = camera.image_to_world @ np.diag([camera.image_width, camera.image_height, 1.0])
        singular_values = np.linalg.svd(scaled, compute_uv=False)
        if singular_values[2] <= 1e-9 * singular_values[0]:
            return "'image_to_world' is singular (its points lie on one line)"
    bottom = np.array([[camera.image_width / 2, float(camera.image_height)]])
    if not np.isfinite(camera.image_to_ground(bottom)).all():
        return "the bottom centre of the picture does not see the ground"
    return ""


def _reference(reference: SceneReference) -> dict[str, Any]:
    return {"height": reference.codes.shape[0], "edges": reference.to_text()}


def _pose(camera: PinholeCamera) -> dict[str, Any]:
    """Return what differs between a camera and its alternatives, as the file has it."""
    (fx, _, cx), (_, fy, cy), _ = camera.matrix.tolist()
    return {
        "intrinsics": {"fx": fx, "fy": fy, "cx": cx, "cy": cy},
        "rotation": camera.rotation.tolist(),
        "translation_m": camera.translation_m.tolist(),
        "distortion": camera.distortion.tolist(),
    }


def _map(camera: HomographyCamera) -> dict[str, Any]:
    """Return what differs between a homography and its alternatives, as the file has it."""
    return {"image_to_world": camera.image_to_world.tolist(), "bend": camera.bend}


def _pinhole(file: _PinholeFile) -> PinholeCamera:
    def camera(pose: _PinholeFile | _PinholeAlternative, others: tuple[PinholeCamera, ...] = ()) -> PinholeCamera:
        k = pose.intrinsics
        return PinholeCamera(
            file.image.width,
            file.image.height,
            np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]], np.float64),
            np.array(file.distortion if pose.distortion is None else pose.distortion, np.float64),
            np.array(pose.rotation, np.float64),
            np.array(pose.translation_m, np.float64),
            others,
        )

    return camera(file, tuple(camera(other) for other in file.alternatives))


def _homography(file: _HomographyFile) -> HomographyCamera:
    width, height = file.image.width, file.image.height
    others = tuple(
        HomographyCamera(width, height, np.array(other.image_to_world), bend=other.bend) for other in file.alternatives
    )
    return HomographyCamera(width, height, np.array(file.image_to_world, np.float64), others, file.bend)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"camera file {path} does not exist; check 'calibration' in the configuration") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"camera file {path} cannot be read ({error}); restore it or calibrate again") from error
    content = parse_yaml(text, f"camera file {path}", "correct that line or calibrate again")
    if not isinstance(content, dict):
        raise UserError(f"camera file {path} is not a camera file; make one with 'calibrate'")
    return content

"""``python -m edge_app calibrate``: four ways to one camera file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click
import numpy as np

from edge_app.errors import UserError

_FILE = click.Path(path_type=Path)
_OUT = click.option("--out", type=_FILE, required=True, help="camera file (YAML) to write")
_PICTURE = click.option(
    "--picture", type=_FILE, help="picture or video of the camera: gives the size and gets a metre grid"
)
_SIZE = click.option(
    "--size", type=click.IntRange(min=16), nargs=2, metavar="WIDTH HEIGHT", help="of the picture, pixels"
)
_GRID = click.option("--grid", type=_FILE, help="picture with the metre grid to write; default: beside --out")
_PRIVACY = click.option(
    "--privacy", type=click.Choice(["pixelate", "blur", "show"]), default="pixelate", show_default=True,
    help="how people are hidden in the grid picture",
)  # fmt: skip
_MODEL = click.option("--model", type=_FILE, help="detector; default: the released one")


@click.group()
def calibrate() -> None:
    """Make a camera file: what turns pixels into metres on the ground."""


@calibrate.command()
@click.option(
    "--point", "points", multiple=True, metavar="U,V=X,Y", help="pixels and metres of a ground point; 4 or more"
)
@click.option("--file", "file", type=_FILE, help="text file with one U,V=X,Y in each line")
@click.option("--hfov-deg", type=float, help="horizontal field of view where it is known")
@click.option("--distortion", type=float, nargs=5, help="k1 k2 p1 p2 k3 of OpenCV's model; needs --hfov-deg")
@_PICTURE
@_SIZE
@_GRID
@_PRIVACY
@_MODEL
@_OUT
def points(
    points: tuple[str, ...],
    file: Optional[Path],
    hfov_deg: Optional[float],
    distortion: Optional[tuple[float, ...]],
    picture: Optional[Path],
    size: Optional[tuple[int, int]],
    grid: Optional[Path],
    privacy: Any,
    model: Optional[Path],
    out: Path,
) -> None:
    """From points whose places on the ground are known; with five or more, wrong ones are found and left out."""
    rows = [_parse_point(text) for text in (*points, *_lines(file))]
    table = np.array(rows, np.float64).reshape(-1, 4)
    _fit(table[:, :2], table[:, 2:], hfov_deg, distortion, (picture, size, grid, privacy, model, out))


@calibrate.command()
@click.option(
    "--corner", "corners", multiple=True, metavar="U,V",
    help="pixels of a corner: near left, near right, far right, far left",
)  # fmt: skip
@click.option("--width-m", type=float, required=True, help="of the rectangle on the ground, along its near side")
@click.option("--length-m", type=float, required=True, help="from its near to its far side")
@click.option("--hfov-deg", type=float, help="horizontal field of view where it is known")
@click.option("--distortion", type=float, nargs=5, help="k1 k2 p1 p2 k3 of OpenCV's model; needs --hfov-deg")
@_PICTURE
@_SIZE
@_GRID
@_PRIVACY
@_MODEL
@_OUT
def rectangle(
    corners: tuple[str, ...],
    width_m: float,
    length_m: float,
    hfov_deg: Optional[float],
    distortion: Optional[tuple[float, ...]],
    picture: Optional[Path],
    size: Optional[tuple[int, int]],
    grid: Optional[Path],
    privacy: Any,
    model: Optional[Path],
    out: Path,
) -> None:
    """From any rectangle on the ground whose sides are known, such as a parking bay or a carpet."""
    from edge_app.calibration.points import rectangle_corners  # noqa: PLC0415 - keeps --help quick

    if len(corners) != 4:
        raise click.UsageError(f"give four --corner, not {len(corners)}")
    pixels = np.array([_numbers(text, 2, "U,V") for text in corners])
    _fit(pixels, rectangle_corners(width_m, length_m), hfov_deg, distortion, (picture, size, grid, privacy, model, out))


@calibrate.command()
@click.option("--height-m", type=float, required=True, help="of the camera over the ground")
@click.option("--tilt-deg", type=float, required=True, help="how far it looks down from level")
@click.option("--roll-deg", type=float, default=0.0, show_default=True, help="turn about its viewing direction")
@click.option("--hfov-deg", type=float, required=True, help="horizontal field of view")
@click.option("--distortion", type=float, nargs=5, help="k1 k2 p1 p2 k3 of OpenCV's model")
@_PICTURE
@_SIZE
@_GRID
@_PRIVACY
@_MODEL
@_OUT
def pose(
    height_m: float,
    tilt_deg: float,
    roll_deg: float,
    hfov_deg: float,
    distortion: Optional[tuple[float, ...]],
    picture: Optional[Path],
    size: Optional[tuple[int, int]],
    grid: Optional[Path],
    privacy: Any,
    model: Optional[Path],
    out: Path,
) -> None:
    """From the camera's height, tilt, roll and field of view."""
    from edge_app.calibration.pose import camera_from_pose  # noqa: PLC0415 - keeps --help quick

    frame, image_size = _frame(picture, size)
    camera = camera_from_pose(
        image_size,
        height_m=height_m,
        tilt_deg=tilt_deg,
        roll_deg=roll_deg,
        hfov_deg=hfov_deg,
        distortion=None if distortion is None else np.array(distortion),
    )
    source = f"camera {height_m:g} m high, tilt {tilt_deg:g}, roll {roll_deg:g}, field of view {hfov_deg:g} degrees"
    _write(camera, out, source, {}, frame, grid, privacy, model)


@calibrate.command()
@click.argument("video", type=_FILE)
@click.option("--hfov-deg", type=float, help="horizontal field of view where it is known: makes the result surer")
@click.option("--person-height-m", type=float, default=1.70, show_default=True, help="mean height of the people here")
@click.option("--person-height-sd-m", type=float, default=0.09, show_default=True, help="spread of their heights")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="true frame rate; default: the container's")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="stop after this much of the video")
@click.option("--accept-unsure", is_flag=True, help="write the camera file even if the result is not sure yet")
@_GRID
@_PRIVACY
@_MODEL
@_OUT
def auto(
    video: Path,
    hfov_deg: Optional[float],
    person_height_m: float,
    person_height_sd_m: float,
    fps: Optional[float],
    minutes: Optional[float],
    accept_unsure: bool,
    grid: Optional[Path],
    privacy: Any,
    model: Optional[Path],
    out: Path,
) -> None:
    """From the people who walk by in VIDEO, without measuring anything."""
    from edge_app.calibration.from_video import calibrate_from_video  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.self_calibrator import SelfCalibrator  # noqa: PLC0415
    from edge_app.source import VideoFile  # noqa: PLC0415

    source = VideoFile(video, fps=fps)
    calibrator = SelfCalibrator(
        source.width, source.height, hfov_deg=hfov_deg, person_height_m=person_height_m,
        person_height_sd_m=person_height_sd_m,
    )  # fmt: skip
    result, frame, scene = calibrate_from_video(source, calibrator, _model_config(model), minutes)
    click.echo(
        f"{result.people} people and {result.walks} stretches of walking: height {result.height_m:.2f} m "
        f"(± {result.sigma['height_m']:.2f}), tilt {result.tilt_deg:.1f}° (± {result.sigma['tilt_deg']:.1f}), roll "
        f"{result.roll_deg:.1f}° (± {result.sigma['roll_deg']:.1f}), field of view {result.hfov_deg:.0f}° "
        f"(± {result.sigma['hfov_deg']:.0f}); distances of 2 m are known to {100 * result.distance_sigma:.1f} %"
    )
    if result.unsure and not accept_unsure:
        raise UserError(f"not sure yet: {result.unsure}; give more video or --accept-unsure")
    error = {f"sigma_{name}": round(value, 4) for name, value in result.sigma.items()}
    error |= {"relative_distance_sigma": round(result.distance_sigma, 4), "people": float(result.people)}
    words = f"self-calibrated from people in {video.name}, mean height {person_height_m:g} m"
    _write(result.camera, out, words + (f"; unsure: {result.unsure}" if result.unsure else ""), error, frame, grid,
           privacy, model, scene)  # fmt: skip


@calibrate.command("import")
@click.argument("file", type=_FILE)
@_PICTURE
@_SIZE
@_GRID
@_PRIVACY
@_MODEL
@_OUT
def import_file(
    file: Path,
    picture: Optional[Path],
    size: Optional[tuple[int, int]],
    grid: Optional[Path],
    privacy: Any,
    model: Optional[Path],
    out: Path,
) -> None:
    """From a Tsai camera in the XML form of PETS 2009, or the older application's h_inverse.txt."""
    from edge_app.calibration.pose import load_h_inv  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.tsai import load_tsai_xml  # noqa: PLC0415

    frame, image_size = _frame(picture, size) if picture or size else (None, None)
    camera: Any
    if file.suffix.lower() == ".xml":
        camera = load_tsai_xml(file)
    elif image_size is None:
        raise click.UsageError("h_inverse.txt does not say the size of its picture; give --size or --picture")
    else:
        camera = load_h_inv(file, image_size)
    _write(camera, out, f"imported from {file.name}", {}, frame, grid, privacy, model)


@calibrate.command()
@click.argument("camera", type=_FILE)
def homography(camera: Path) -> None:
    """Print the homography of a CAMERA file, undistorted pixels to metres, row by row."""
    from edge_app.calibration.camera_file import load_camera  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.compare import homography_of  # noqa: PLC0415

    for row in homography_of(load_camera(camera)):
        click.echo(" ".join(f"{value:.10g}" for value in row))


@calibrate.command()
@click.argument("camera", type=_FILE)
@click.option("--picture", type=_FILE, required=True, help="picture or video that shows what the camera sees now")
@_MODEL
def reference(camera: Path, picture: Path, model: Optional[Path]) -> None:
    """Remember in a CAMERA file what the scene looks like, so that a moved camera is noticed."""
    from edge_app.calibration.camera_file import add_reference, load_camera  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.from_video import scene_of  # noqa: PLC0415
    from edge_app.calibration.scene_reference import thumbnail_height  # noqa: PLC0415

    known = load_camera(camera)
    scene = scene_of(picture, _model_config(model))
    if scene.codes.shape[0] != thumbnail_height(known.image_width, known.image_height):
        raise UserError(
            f"{picture} has another shape than the {known.image_width}x{known.image_height} pictures of {camera}; give "
            "one of this camera"
        )
    try:
        add_reference(camera, scene)
    except OSError as error:
        raise UserError(f"camera file {camera} cannot be written ({error.strerror}); mend its permissions") from error
    click.echo(camera)
    _say_whether_moves_are_noticed(scene)


@calibrate.command()
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
def compare(first: Path, second: Path) -> None:
    """Say how much the distances of two camera files differ."""
    from edge_app.calibration.camera_file import load_camera  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.compare import compare_cameras  # noqa: PLC0415

    click.echo(str(compare_cameras(load_camera(first), load_camera(second))))


def _fit(
    points_px: Any, points_m: Any, hfov_deg: Optional[float], distortion: Optional[tuple[float, ...]], rest: Any
) -> None:
    from edge_app.calibration.points import Intrinsics, calibrate_points  # noqa: PLC0415 - keeps --help quick
    from edge_app.calibration.self_geometry import Lens  # noqa: PLC0415

    picture, size, grid, privacy, model, out = rest
    if distortion is not None and hfov_deg is None:
        raise click.UsageError("--distortion needs --hfov-deg")
    frame, (width, height) = _frame(picture, size)
    lens = None
    if hfov_deg is not None:
        if not 5.0 <= hfov_deg <= 150.0:
            raise click.UsageError(f"--hfov-deg must be 5 to 150 degrees, not {hfov_deg:g}")
        bent = None if distortion is None else np.array(distortion)
        focal = Lens(width, height, bent).focal_of(hfov_deg)
        matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        lens = Intrinsics(matrix, bent)
    result = calibrate_points(points_px, points_m, (width, height), lens)
    for number in np.flatnonzero(~result.used) + 1:
        click.echo(f"point {number} does not fit the others and was left out", err=True)
    rms = result.error["reprojection_rms_px"]
    click.echo(
        f"{int(result.used.sum())} points, {rms:.2f} pixels off on average; with clicks 2 pixels off, a gap of 2 m "
        f"amid the points is wrong by at most {result.gap_error_m:.2f} m in 9 of 10 cases"
    )
    words = f"{int(result.used.sum())} ground points" + (
        "" if lens is None else f", field of view {hfov_deg:g} degrees"
    )
    _write(result.camera, out, words, result.error, frame, grid, privacy, model)


def _write(
    camera: Any, out: Path, source: str, error: dict[str, float], frame: Any, grid: Optional[Path], privacy: Any,
    model: Optional[Path], scene: Any = None,
) -> None:  # fmt: skip
    from edge_app.calibration.camera_file import (  # noqa: PLC0415 - keeps --help quick
        add_reference,
        check_replaceable,
        degenerate_reason,
        save_camera,
    )
    from edge_app.calibration.claims import LARGEST_GAP_SIGMA, gap_by_range  # noqa: PLC0415
    from edge_app.calibration.from_video import check_grid_path, write_grid  # noqa: PLC0415

    reason = degenerate_reason(camera)
    if reason:
        raise UserError(f"this calibration can't be used: {reason}; check what was given")
    known = gap_by_range(camera) if camera.alternatives else {}
    if camera.alternatives and not any(sigma <= LARGEST_GAP_SIGMA for sigma in known.values()):
        raise UserError(
            "this calibration can't be used: it knows no gap of 2 m to 20 %; measure more or give more points"
        )
    check_replaceable(out)
    picture = grid or out.with_name(f"{out.stem}_grid.jpg")
    check_grid_path(picture)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_camera(camera, out, source=source, error=error)
    except OSError as failed:
        raise UserError(f"camera file {out} cannot be written ({failed.strerror}); give another --out") from failed
    click.echo(out)
    if known:
        ranges = ", ".join(f"{100 * sigma:.0f} % {away:g} m on" for away, sigma in known.items())
        click.echo(f"standard error of a gap of 2 m, from the nearest ground in the picture: {ranges}")
    if frame is None:
        click.echo("no --picture was given: it will not be noticed if the camera is moved")
        return
    made = write_grid(frame, camera, picture, privacy, _model_config(model))
    add_reference(out, scene or made.reference)
    for line in made.sentences:
        click.echo(line)
    _say_whether_moves_are_noticed(scene or made.reference)


def _say_whether_moves_are_noticed(scene: Any) -> None:
    from edge_app.calibration.moved_camera import enough_structure  # noqa: PLC0415 - keeps --help quick

    if enough_structure(scene):
        click.echo("if the camera is moved, that will be noticed, and no distances will be claimed")
    else:
        click.echo("the picture has too few edges: it will not be noticed if the camera is moved")


def _frame(picture: Optional[Path], size: Optional[tuple[int, int]]) -> tuple[Any, tuple[int, int]]:
    """Return a frame (None without a picture) and the picture's size."""
    if picture is None:
        if size is None:
            raise click.UsageError("give --picture, or --size WIDTH HEIGHT")
        return None, size
    from edge_app.calibration.from_video import first_frame  # noqa: PLC0415 - keeps --help quick

    frame = first_frame(picture)
    found = (frame.shape[1], frame.shape[0])
    if size is not None and tuple(size) != found:
        raise UserError(f"{picture} is {found[0]} x {found[1]} pixels, not {size[0]} x {size[1]}; leave --size out")
    return frame, found


def _model_config(model: Optional[Path]) -> Any:
    from edge_app.config import ModelConfig  # noqa: PLC0415 - keeps --help quick

    return ModelConfig() if model is None else ModelConfig(path=model)


def _lines(file: Optional[Path]) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"points {file} cannot be read; give a text file with U,V=X,Y in each line") from error
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


def _parse_point(text: str) -> list[float]:
    pixels, found, metres = text.partition("=")
    if not found:
        raise UserError(f"point '{text}' is not U,V=X,Y; write pixels, an equals sign and metres")
    return [*_numbers(pixels, 2, "U,V=X,Y"), *_numbers(metres, 2, "U,V=X,Y")]


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise UserError(f"point '{text}' is not {form}; write numbers with a comma between them")
    return values

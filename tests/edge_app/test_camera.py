from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from edge_app.calibration import HomographyCamera, load_camera, load_tsai_xml, save_camera
from edge_app.errors import UserError
from tests.edge_app.synthetic import camera_looking_down

PETS_CAMERA = Path("config/cameras/pets_view001.yaml")
PETS_TSAI = Path("../shared/data/pets/calibration/View_001.xml")


def test_the_principal_ray_meets_the_ground_at_height_over_tangent_of_tilt():
    camera = camera_looking_down(height_m=3.0, tilt_deg=20.0)
    ground = camera.image_to_ground(np.array([[480.0, 360.0]]))
    np.testing.assert_allclose(ground, [[0.0, 3.0 / np.tan(np.deg2rad(20.0))]], atol=1e-9)


def test_two_metres_in_depth_are_two_metres():
    camera = camera_looking_down(height_m=3.0, tilt_deg=20.0)
    feet = camera.ground_to_image(np.array([[0.0, 5.0], [0.0, 7.0]]))
    near, far = camera.image_to_ground(feet)
    assert np.linalg.norm(far - near) == pytest.approx(2.0, abs=1e-6)


def test_pixels_on_and_above_the_horizon_have_no_position():
    camera = camera_looking_down(tilt_deg=20.0, focal_px=600.0)
    horizon_y = 360.0 - 600.0 * np.tan(np.deg2rad(20.0))
    ground = camera.image_to_ground(np.array([[480.0, horizon_y - 1.0], [480.0, horizon_y + 1.0]]))
    assert np.isnan(ground[0]).all()
    assert np.isfinite(ground[1]).all()


def test_points_behind_the_camera_are_not_in_the_picture():
    assert np.isnan(camera_looking_down().ground_to_image(np.array([[0.0, -5.0]]))).all()


def test_lens_distortion_is_inverted():
    plain = camera_looking_down()
    camera = type(plain)(
        plain.image_width, plain.image_height, plain.matrix, np.array([-0.25, 0.07, 1e-3, -5e-4, 0.0]),
        plain.rotation, plain.translation_m,
    )  # fmt: skip
    points = np.array([[-3.0, 6.0], [0.0, 8.0], [4.0, 9.0], [1.0, 15.0]])
    pixels = camera.ground_to_image(points)
    assert np.abs(pixels - plain.ground_to_image(points)).max() > 5.0
    np.testing.assert_allclose(camera.image_to_ground(pixels), points, atol=1e-5)


def test_a_rescaled_picture_gives_the_same_metres():
    camera = camera_looking_down(width=960, height=720)
    feet = camera.ground_to_image(np.array([[1.0, 6.0], [-2.0, 9.0]]))
    half = camera.scaled_to(480, 360)
    np.testing.assert_allclose(half.image_to_ground(feet / 2), [[1.0, 6.0], [-2.0, 9.0]], atol=1e-9)


def homography_of(camera) -> HomographyCamera:
    to_image = camera.matrix @ np.column_stack([camera.rotation[:, 0], camera.rotation[:, 1], camera.translation_m])
    return HomographyCamera(camera.image_width, camera.image_height, np.linalg.inv(to_image))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_homography_agrees_with_its_camera_whatever_its_sign(sign):
    camera = camera_looking_down()
    homography = homography_of(camera)
    homography = HomographyCamera(camera.image_width, camera.image_height, sign * 3.0 * homography.image_to_world)
    points = np.array([[0.0, 5.0], [-2.0, 9.0], [3.0, 20.0]])
    pixels = camera.ground_to_image(points)
    np.testing.assert_allclose(homography.image_to_ground(pixels), points, atol=1e-8)
    np.testing.assert_allclose(homography.ground_to_image(points), pixels, atol=1e-8)
    assert np.isnan(homography.image_to_ground(np.array([[480.0, 0.0]]))).all()
    half = homography.scaled_to(480, 360)
    np.testing.assert_allclose(half.image_to_ground(pixels / 2), points, atol=1e-8)


@pytest.mark.parametrize("kind", ["pinhole", "homography"])
def test_a_camera_file_gives_the_same_camera_back(tmp_path, kind):
    camera = camera_looking_down()
    saved = camera if kind == "pinhole" else homography_of(camera)
    save_camera(saved, tmp_path / "camera.yaml", source="synthetic", error={"reprojection_px": 0.0})
    points = np.array([[0.0, 5.0], [2.0, 9.0]])
    pixels = camera.ground_to_image(points)
    np.testing.assert_allclose(load_camera(tmp_path / "camera.yaml").image_to_ground(pixels), points, atol=1e-8)


def broken(change) -> dict:
    content = yaml.safe_load(PETS_CAMERA.read_text())
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (broken(lambda c: c.update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 2]])), "not a rotation"),
        (broken(lambda c: c.update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 1]], translation_m=[0, 0, 5])), "below"),
        (broken(lambda c: c["intrinsics"].update(fx=-1)), "fx"),
        (broken(lambda c: c.pop("translation_m")), "translation_m"),
        (broken(lambda c: c.update(type="fisheye")), "type"),
        (
            {"camera_file": 1, "type": "homography", "image": {"width": 640, "height": 480},
             "image_to_world": [[1, 2, 3], [2, 4, 6], [0, 0, 1]]},
            "singular",
        ),
        ([1, 2], "not a camera file"),
        ({"type": ["pinhole"]}, "'type' must be 'pinhole' or 'homography'"),
    ],
)  # fmt: skip
def test_a_degenerate_camera_file_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=said):
        load_camera(path)


def test_a_camera_file_that_says_a_thing_twice_is_refused_with_the_line(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(PETS_CAMERA.read_text() + "\nimage: {width: 1, height: 1}\n")
    with pytest.raises(UserError, match=r"camera\.yaml: not valid YAML at line \d+, .*'image' is there already"):
        load_camera(path)


def test_a_missing_camera_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist"):
        load_camera(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_tsai_camera_is_refused(tmp_path):
    path = tmp_path / "camera.xml"
    path.write_text("<Camera><Geometry width='1'/></Camera>")
    with pytest.raises(UserError, match="not a PETS camera XML"):
        load_tsai_xml(path)


@pytest.mark.skipif(not PETS_TSAI.exists(), reason="../shared/data is not here")
def test_the_shipped_pets_camera_is_the_tsai_camera():
    shipped, tsai = load_camera(PETS_CAMERA), load_tsai_xml(PETS_TSAI)
    feet = np.array([[100.0, 300.0], [400.0, 500.0], [700.0, 250.0]])
    np.testing.assert_allclose(shipped.image_to_ground(feet), tsai.image_to_ground(feet), atol=1e-6)


@pytest.mark.skipif(not PETS_TSAI.exists(), reason="../shared/data is not here")
def test_the_opencv_form_of_a_tsai_lens_undoes_tsais_distortion():
    """Undistort pixels by Tsai's own formula and by the converted camera: the same rays within 0.01 pixel."""
    camera = load_tsai_xml(PETS_TSAI)
    focal, kappa, dpx, dpy, sx = 5.5549183034, 5.1113043639e-03, 5.1273271277e-03, 4.65e-03, 1.0937855397
    for u, v in ([0.0, 0.0], [767.0, 575.0], [50.0, 500.0], [600.0, 30.0]):
        x = dpx * (u - 324.22149053) / sx
        y = dpy * (v - 282.56650051)
        factor = 1 + kappa * (x**2 + y**2)
        ray = np.array([x * factor / focal, y * factor / focal, 1.0])
        world = camera.rotation.T @ (ray * 20.0 - camera.translation_m)
        assert np.linalg.norm(camera.world_to_image(world[None])[0] - [u, v]) < 0.01

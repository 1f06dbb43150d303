from __future__ import annotations

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.calibration import HomographyCamera, PinholeCamera, load_camera
from edge_app.calibration.compare import compare_cameras, homography_of
from edge_app.calibration.points import Intrinsics, calibrate_points, rectangle_corners
from edge_app.calibration.pose import camera_from_pose, load_h_inv
from edge_app.calibration.self_calibrator import SelfCalibrator
from edge_app.cli import cli
from edge_app.errors import UserError
from edge_app.render.metre_grid import draw_metre_grid
from training.simulation.scenes import Crowd, random_scene, walking_people

SIZE = (1280, 720)
GROUND = np.array([[-4.0, 6], [4, 6], [4, 16], [-4, 16], [0, 10], [2, 8]])


def camera(**changes):
    options = {
        "height_m": 5.0,
        "tilt_deg": 25.0,
        "roll_deg": 2.0,
        "hfov_deg": 70.0,
        "distortion": np.zeros(5),
        **changes,
    }
    return camera_from_pose(SIZE, **options)


def test_four_points_give_back_the_camera_that_saw_them():
    truth = camera()
    found = calibrate_points(truth.ground_to_image(GROUND[:4]), GROUND[:4], SIZE)
    assert isinstance(found.camera, HomographyCamera)
    np.testing.assert_allclose(found.camera.image_to_ground(truth.ground_to_image(GROUND)), GROUND, atol=1e-6)
    assert found.error["reprojection_rms_px"] < 1e-6


def test_a_known_lens_gives_the_pose_of_the_camera():
    truth = camera(distortion=np.array([-0.2, 0.05, 0.0, 0.0, 0.0]))
    found = calibrate_points(truth.ground_to_image(GROUND), GROUND, SIZE, Intrinsics(truth.matrix, truth.distortion))
    assert isinstance(found.camera, PinholeCamera)
    np.testing.assert_allclose(found.camera.position_m, truth.position_m, atol=0.01)
    np.testing.assert_allclose(found.camera.image_to_ground(truth.ground_to_image(GROUND)), GROUND, atol=0.01)


def test_a_wrong_point_is_found_and_left_out():
    truth = camera()
    pixels = truth.ground_to_image(GROUND)
    pixels[4] += (60, -40)
    found = calibrate_points(pixels, GROUND, SIZE)
    assert found.used.tolist() == [True] * 4 + [False, True]
    np.testing.assert_allclose(found.camera.image_to_ground(truth.ground_to_image(GROUND)), GROUND, atol=1e-6)


def test_clicks_two_pixels_off_keep_a_gap_at_ten_metres_right():
    """A rectangle of 6 x 8 m around the place, clicked with 2 px of noise: 9 of 10 gaps of 2 m within 0.2 m."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(100):
        truth = camera(height_m=rng.uniform(2.5, 8), tilt_deg=rng.uniform(15, 40), hfov_deg=rng.uniform(50, 90))
        corners = rectangle_corners(6.0, 8.0) + np.array([-3.0, 6.0])
        pixels = truth.ground_to_image(corners)
        if not ((pixels > 0) & (pixels < SIZE)).all():
            continue
        found = calibrate_points(pixels + rng.normal(0, 2, pixels.shape), corners, SIZE)
        angle = rng.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)])
        ends = truth.ground_to_image(np.array([(0.0, 10.0), (0.0, 10.0)]) + np.array([-step, step]))
        errors.append(abs(np.hypot(*np.diff(found.camera.image_to_ground(ends), axis=0)[0]) - 2.0))
    assert len(errors) > 30
    assert np.percentile(errors, 90) <= 0.2


@pytest.mark.parametrize(
    ("pixels", "metres", "said"),
    [
        ([[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [1, 1]], "3 points are too few"),
        (
            [[100, 500], [200, 500], [300, 500], [400, 500]],
            [[0, 0], [1, 0], [2, 0], [3, 0]],
            "one line in the picture",
        ),
        (
            [[100, 500], [600, 520], [500, 200], [200, 200]],
            [[0, 0], [1, 0], [2, 0], [3, 0]],
            "line on the ground",
        ),
        ([[100, 500], [350, 510], [600, 520], [200, 200]], [[0, 0], [2, 0], [4, 0], [0, 9]], "three of the four"),
        ([[100, 500], [600, 520], [200, 200], [500, 200]], [[0, 0], [4, 0], [4, 9], [0, 9]], "they cross"),
        ([[100, 500], [600, 520], [500, np.nan], [200, 200]], [[0, 0], [4, 0], [4, 9], [0, 9]], "not a number"),
    ],
)
def test_points_that_give_no_camera_are_refused_with_the_reason(pixels, metres, said):
    with pytest.raises(UserError, match=said):
        calibrate_points(np.array(pixels, float), np.array(metres, float), SIZE)


def test_points_that_do_not_fit_together_are_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(UserError, match=r"fit together|check (their|the) order"):
        calibrate_points(rng.uniform(100, 600, (7, 2)), rng.uniform(0, 9, (7, 2)), SIZE)


def test_mirrored_points_are_refused_with_and_without_a_lens():
    truth = camera()
    pixels, mirrored = truth.ground_to_image(GROUND), GROUND[:, ::-1].copy()
    for lens in (None, Intrinsics(truth.matrix, np.zeros(5))):
        with pytest.raises(UserError, match="mirrored"):
            calibrate_points(pixels, mirrored, SIZE, lens)


def test_an_implausible_camera_is_refused():
    truth = camera()
    with pytest.raises(UserError, match="implausible camera"):
        calibrate_points(truth.ground_to_image(GROUND), GROUND / 20, SIZE, Intrinsics(truth.matrix, np.zeros(5)))


def test_points_that_say_too_little_are_refused():
    """Four points a hand apart at ten metres, clicked to two pixels."""
    truth = camera(hfov_deg=100.0)
    tile = np.array([[0.0, 10.0], [0.3, 10.0], [0.3, 10.4], [0.0, 10.4]])
    with pytest.raises(UserError, match="say too little"):
        calibrate_points(truth.ground_to_image(tile), tile, SIZE)


def test_points_tell_the_bend_of_an_unknown_lens():
    """A lens that is nearly equidistant, 100 degrees wide; without the bend the corners would be a metre off."""
    truth = camera_from_pose(
        SIZE, height_m=5.0, tilt_deg=35.0, roll_deg=0.0, hfov_deg=100.0, distortion=np.array([-0.2, 0.05, 0, 0, -0.005])
    )
    places = np.array([[x, y] for x in (-5.0, 0.0, 5.0) for y in (4.0, 8.0, 14.0)])
    found = calibrate_points(truth.ground_to_image(places), places, SIZE)
    assert found.used.all()
    between = np.array([[-2.5, 6.0], [2.5, 11.0], [4.0, 5.0]])
    np.testing.assert_allclose(found.camera.image_to_ground(truth.ground_to_image(between)), between, atol=0.1)
    matrix = truth.matrix
    edge = SIZE[0] / 2 / np.tan(np.deg2rad(50.0))
    plain = np.array([[edge, 0, matrix[0, 2]], [0, edge, matrix[1, 2]], [0, 0, 1.0]])
    posed = calibrate_points(truth.ground_to_image(places), places, SIZE, Intrinsics(plain))
    assert posed.camera.position_m[2] == pytest.approx(5.0, abs=0.15)


def test_a_camera_that_sees_no_ground_is_refused():
    with pytest.raises(UserError, match="sees no ground"):
        camera(tilt_deg=-9.0, hfov_deg=20.0, roll_deg=0.0)
    with pytest.raises(UserError, match="height must be"):
        camera(height_m=0.1)


def test_the_older_file_is_read_in_metres(tmp_path):
    truth = camera()
    matrix = np.diag([100.0, 100.0, 1.0]) @ homography_of(truth)
    (tmp_path / "h_inverse.txt").write_text("h_inv: " + " ".join(f"{value:.9e}" for value in matrix.ravel()))
    found = load_h_inv(tmp_path / "h_inverse.txt", SIZE)
    np.testing.assert_allclose(found.image_to_ground(truth.ground_to_image(GROUND)), GROUND, atol=1e-3)
    (tmp_path / "bad.txt").write_text("h_inv: 1 2 3")
    with pytest.raises(UserError, match="3 numbers, not the nine"):
        load_h_inv(tmp_path / "bad.txt", SIZE)


def test_two_calibrations_differ_by_what_their_heights_differ():
    """Everything on the ground scales with the camera's height."""
    difference = compare_cameras(camera(), camera(height_m=5.5))
    assert difference.median == pytest.approx(0.1, abs=1e-6)
    assert difference.p90 == pytest.approx(0.1, abs=1e-6)
    assert "differs by 10.0 %" in str(difference)


def test_the_grid_is_drawn_where_the_metres_are():
    picture = draw_metre_grid(np.full((720, 1280, 3), 120, np.uint8), camera(roll_deg=0.0))
    changed = (picture != 120).any(axis=2)
    on_line = camera(roll_deg=0.0).ground_to_image(np.array([[0.0, 7.3], [2.0, 7.3], [1.0, 8.6]]))
    between = camera(roll_deg=0.0).ground_to_image(np.array([[0.5, 7.5], [1.5, 6.5]]))
    for x, y in np.round(on_line).astype(int):
        assert changed[y, x - 1 : x + 2].any()
    for x, y in np.round(between).astype(int):
        assert not changed[y - 2 : y + 3, x - 2 : x + 3].any()


def test_people_who_walk_by_calibrate_the_camera():
    rng = np.random.default_rng(5)
    scene = random_scene(rng)
    calibrator = SelfCalibrator(
        scene.camera.image_width, scene.camera.image_height, hfov_deg=scene.hfov_deg, person_height_sd_m=0.07
    )
    assert calibrator.result() is None
    for frame in walking_people(scene, Crowd(), rng):
        calibrator.add(frame.time_s, frame.tracks)
    result = calibrator.result()
    assert result is not None
    assert result.unsure == ""
    assert result.height_m == pytest.approx(scene.camera.position_m[2], rel=0.1)
    # On the ground where people walk, distances agree.
    here = scene.region_m[:: max(1, len(scene.region_m) // 50)]
    other = here + np.array([1.0, 1.0])
    ends = [result.camera.image_to_ground(scene.camera.ground_to_image(points)) for points in (here, other)]
    gaps = np.hypot(*(ends[0] - ends[1]).T)
    assert np.nanmedian(np.abs(gaps / np.sqrt(2) - 1)) < 0.08


def test_too_few_people_are_said_to_be_too_few():
    rng = np.random.default_rng(5)
    scene = random_scene(rng)
    calibrator = SelfCalibrator(scene.camera.image_width, scene.camera.image_height)
    for frame in walking_people(scene, Crowd(people=2, seconds=20), rng):
        calibrator.add(frame.time_s, frame.tracks)
    result = calibrator.result()
    assert result is not None
    assert "people were seen whole so far" in result.unsure


def run(*words):
    return CliRunner().invoke(cli, ["calibrate", *(str(word) for word in words)])


def test_a_grid_that_is_no_picture_is_refused_before_anything_is_written(tmp_path):
    cv2.imwrite(str(tmp_path / "view.png"), np.zeros((720, 1280, 3), np.uint8))
    done = run("pose", "--height-m", 4, "--tilt-deg", 25, "--hfov-deg", 70, "--picture", tmp_path / "view.png",
                  "--out", tmp_path / "cam.yaml", "--grid", tmp_path / "grid.txt")  # fmt: skip
    assert "grid.txt does not end as pictures do; give a --grid that ends in .jpg or .png" in str(done.exception)
    assert not (tmp_path / "cam.yaml").exists()


def test_a_camera_is_not_written_over_something_else(tmp_path):
    other = tmp_path / "notes.md"
    other.write_text("# mine")
    words = ("pose", "--height-m", 4, "--tilt-deg", 25, "--hfov-deg", 70, "--size", 640, 480, "--out")
    assert "notes.md is there and is no camera file; give another --out" in str(run(*words, other).exception)
    assert other.read_text() == "# mine"
    for _ in range(2):
        assert run(*words, tmp_path / "cam.yaml").exit_code == 0


def test_a_reference_is_a_picture_of_this_camera(tmp_path):
    run("pose", "--height-m", 4, "--tilt-deg", 25, "--hfov-deg", 70, "--size", 640, 480, "--out", tmp_path / "cam.yaml")
    cv2.imwrite(str(tmp_path / "square.png"), np.zeros((400, 400, 3), np.uint8))
    done = run("reference", tmp_path / "cam.yaml", "--picture", tmp_path / "square.png")
    assert "square.png has another shape than the 640x480 pictures of" in str(done.exception)


def test_points_on_the_command_line_make_a_camera_file_and_a_picture(tmp_path):
    truth = camera()
    cv2.imwrite(str(tmp_path / "view.png"), np.full((720, 1280, 3), 90, np.uint8))
    lines = [f"{u:.3f},{v:.3f}={x:g},{y:g}" for (u, v), (x, y) in zip(truth.ground_to_image(GROUND), GROUND)]
    (tmp_path / "points.txt").write_text("# corner stones\n" + "\n".join(lines))
    done = run(
        "points", "--file", tmp_path / "points.txt", "--picture", tmp_path / "view.png", "--out", tmp_path / "c.yaml"
    )
    assert done.exit_code == 0, done.output
    loaded = load_camera(tmp_path / "c.yaml")
    np.testing.assert_allclose(loaded.image_to_ground(truth.ground_to_image(GROUND)), GROUND, atol=1e-3)
    assert cv2.imread(str(tmp_path / "c_grid.jpg")).shape == (720, 1280, 3)
    printed = run("homography", tmp_path / "c.yaml").output
    assert np.array(printed.split(), float).reshape(3, 3) == pytest.approx(homography_of(loaded), rel=1e-6)


def test_bad_points_are_one_sentence(tmp_path):
    done = run("points", "--point", "1,2=3", "--size", 640, 480, "--out", tmp_path / "c.yaml")
    assert isinstance(done.exception, UserError)
    assert "point '3' is not U,V=X,Y" in str(done.exception)
    assert not (tmp_path / "c.yaml").exists()

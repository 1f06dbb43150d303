from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_app.capture.folder import ImageFolder
from edge_app.capture.open_camera import open_camera
from edge_app.capture.opencv_stream import SourceLost
from edge_app.config import SourceConfig
from edge_app.errors import UserError
from edge_app.source import VideoFile
from tests.edge_app.videos import write_video


def write_pictures(folder, count):
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full((24, 32, 3), 10 * index, np.uint8))


def test_a_folder_gives_its_pictures_in_order(tmp_path):
    write_pictures(tmp_path, 4)
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_camera(SourceConfig(uri=str(tmp_path), fps=2.0))
    frames = list(source)
    assert [int(frame.image.mean()) for frame in frames] == [0, 10, 20, 30]
    assert [frame.time_s for frame in frames] == [0.0, 0.5, 1.0, 1.5]
    assert (source.width, source.height, source.frame_count) == (32, 24, 4)


def test_a_looping_folder_goes_on(tmp_path):
    write_pictures(tmp_path, 2)
    source = iter(ImageFolder(tmp_path, loop=True))
    assert [next(source).index for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no pictures"):
        open_camera(SourceConfig(uri=str(tmp_path)))


def test_a_damaged_picture_is_named(tmp_path):
    write_pictures(tmp_path, 2)
    (tmp_path / "001.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"001\.png cannot be read"):
        list(ImageFolder(tmp_path))


def test_a_file_opens_as_a_file(tmp_path):
    path = write_video(tmp_path / "v.avi", frames=3)
    assert isinstance(open_camera(SourceConfig(uri=str(path))), VideoFile)


def test_a_camera_that_is_not_plugged_in_is_lost_not_wrong():
    with pytest.raises(SourceLost, match="/dev/video73 is not there"):
        open_camera(SourceConfig(uri="73"))
    with pytest.raises(SourceLost, match="/dev/video74 is not there"):
        open_camera(SourceConfig(uri="csi:74"))


def test_a_stream_that_nobody_serves_is_lost_and_its_password_not_said():
    with pytest.raises(SourceLost, match=r"rtsp://127\.0\.0\.1:9/x does not answer") as caught:
        open_camera(SourceConfig(uri="rtsp://me:s3cret@127.0.0.1:9/x", stall_timeout_s=2))
    assert "s3cret" not in str(caught.value)


def test_a_gstreamer_string_says_what_opencv_lacks():
    if any("GStreamer" in line and "YES" in line for line in cv2.getBuildInformation().splitlines()):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(UserError, match="built with GStreamer"):
        open_camera(SourceConfig(uri="videotestsrc ! appsink"))

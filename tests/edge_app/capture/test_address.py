from __future__ import annotations

import pytest

from edge_app.capture.address import display_name, parse_address
from edge_app.errors import UserError
from edge_app.masking import masked


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", "device"),
        ("/dev/video2", "device"),
        ("/dev/v4l/by-id/usb-cam", "device"),
        ("csi:0", "csi"),
        ("rtsp://camera/stream", "stream"),
        ("https://camera/mjpg", "stream"),
        ("v4l2src ! videoconvert ! appsink", "gstreamer"),
        ("lobby.mp4", "file"),
    ],
)
def test_every_kind_of_source_is_told_from_its_text(text, kind):
    assert parse_address(text).kind == kind


def test_a_folder_is_told_from_a_file(tmp_path):
    assert parse_address(str(tmp_path)).kind == "folder"


@pytest.mark.parametrize("text", ["", "csi:front", "rstp://camera/stream", "ftp://camera/clip"])
def test_what_names_no_source_is_refused(text):
    with pytest.raises(UserError):
        parse_address(text)


def test_a_mistyped_scheme_is_guessed():
    with pytest.raises(UserError, match="did you mean"):
        parse_address("rstp://camera/stream")


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:s3cret@camera/stream",
        "rtsp://admin:s3cret@with@signs@camera/stream",
        "rtsp://admin:s3cret/slash@camera/stream",
        "rtsp://camera/stream?user=admin&password=s3cret&channel=1",
        "http://camera/video?pwd=s3cret",
        "rtspsrc location=rtsp://camera/stream user-id=admin user-pw=s3cret ! decodebin ! appsink",
        "rtspsrc location=rtsp://a:s3cret@camera/stream ! decodebin ! appsink",
        'rtspsrc location=rtsp://camera user-pw="s3cret word" ! appsink',
    ],
)
def test_no_password_is_ever_shown(text):
    assert "s3cret" not in display_name(text)
    assert "camera" in display_name(text)
    assert "s3cret" not in masked(f"cannot open {text} now")
    assert "s3cret" not in parse_address(text).name


def test_what_is_no_secret_stays():
    assert display_name("rtsp://camera:554/stream?channel=1") == "rtsp://camera:554/stream?channel=1"

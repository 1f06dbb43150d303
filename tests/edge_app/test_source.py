from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge_app.capture.address import display_name
from edge_app.config import SAMPLE, SourceConfig
from edge_app.errors import UserError
from edge_app.source import VideoFile, open_source
from tests.edge_app.videos import write_video


def test_every_frame_comes_in_order_with_its_time(tmp_path):
    source = VideoFile(write_video(tmp_path / "v.avi", frames=30, fps=10.0))
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 10, atol=1e-6)
    assert abs(int(frames[20].image.mean()) - 80) <= 2
    assert (source.width, source.height, source.fps, source.frame_count) == (64, 48, 10.0, 30)
    assert source.duration_s == pytest.approx(3.0)
    assert not source.truncated


def test_a_given_frame_rate_replaces_the_containers(tmp_path):
    source = VideoFile(write_video(tmp_path / "v.avi", frames=15, fps=10.0), fps=7.0)
    np.testing.assert_allclose([frame.time_s for frame in source], np.arange(15) / 7)


@pytest.mark.parametrize("fps", [None, 7.0])
def test_a_looping_file_never_goes_back_in_time(tmp_path, fps):
    source = VideoFile(write_video(tmp_path / "v.avi", frames=5, fps=10.0), fps=fps, loop=True)
    frames = list(islice(source, 13))
    assert [frame.index for frame in frames] == list(range(13))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(13) / (fps or 10.0), atol=1e-6)
    assert abs(int(frames[7].image.mean()) - 8) <= 2


def test_skipped_frames_count(tmp_path):
    source = VideoFile(write_video(tmp_path / "v.avi", frames=20))
    assert source.skip(12) == 12
    rest = list(source)
    assert rest[0].index == 12
    assert rest[0].time_s == pytest.approx(1.2)
    assert len(rest) == 8


def test_a_file_that_ends_early_is_known_to_be_truncated(tmp_path):
    whole = write_video(tmp_path / "whole.avi", frames=60, width=320, height=240)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = VideoFile(cut)
    count = sum(1 for _ in source)
    assert 0 < count < 60
    assert source.frame_count is None or source.truncated


def test_the_sample_clip_is_as_its_attribution_says():
    source = VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4")
    assert (source.width, source.height, source.fps) == (768, 576, 7.0)
    assert source.frame_count == sum(1 for _ in source)
    assert 15 <= source.duration_s <= 25


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"this is text, not a video\n" * 100), "is not a video"),
        (lambda p: p.mkdir(), "is not a video file"),
    ],
)
def test_what_is_no_video_is_refused_with_the_reason(tmp_path, make, said):
    path = tmp_path / "v.mp4"
    make(path)
    with pytest.raises(UserError, match=said):
        VideoFile(path)


def test_a_header_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes((SAMPLE / "pets_s2l1_excerpt.mp4").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"is not a video that can be decoded|no frame of"):
        VideoFile(path)


def test_a_stream_is_no_recorded_file_and_its_password_is_not_repeated():
    with pytest.raises(
        UserError, match=r"a recorded file is wanted, not a stream \(rtsp:\); .*'run --source'"
    ) as caught:
        VideoFile(Path("rtsp://user:secret@door/stream"))
    assert "secret" not in str(caught.value)


def test_a_source_without_a_name_or_of_a_later_kind_is_refused():
    with pytest.raises(UserError, match="no source given"):
        open_source(SourceConfig())
    with pytest.raises(UserError, match="is not a video file") as caught:
        open_source(SourceConfig(uri="rtsp://admin:secret@camera.example/stream"))
    assert "secret" not in str(caught.value)


def test_a_name_for_people_has_no_folder_and_no_password():
    assert display_name("/home/someone/videos/lobby.mp4") == "lobby.mp4"
    assert display_name("rtsp://admin:secret@camera.example/stream?x=1") == "rtsp://camera.example/stream?x=1"


def test_a_looping_file_that_is_taken_away_says_so_at_its_end(tmp_path):
    path = write_video(tmp_path / "v.avi", frames=5)
    frames = iter(VideoFile(path, loop=True))
    next(frames)
    path.unlink()
    with pytest.raises(UserError, match="does not exist"):
        list(islice(frames, 20))

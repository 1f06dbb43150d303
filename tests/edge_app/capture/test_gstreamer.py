"""GStreamer strings, in whichever Python at hand has an OpenCV that was built with GStreamer."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from edge_app.config import REPOSITORY

READER = Path(__file__).with_name("read_gstreamer.py")
CAPS = "video/x-raw,width=64,height=48,framerate=10/1"
_PROBE = "import cv2, re, sys; sys.exit(not re.search(r'GStreamer: +YES', cv2.getBuildInformation()))"


@lru_cache(maxsize=1)
def python_with_gstreamer():
    for python in (sys.executable, "/usr/bin/python3"):
        if (
            Path(python).exists()
            and subprocess.run([python, "-c", _PROBE], capture_output=True, check=False).returncode == 0
        ):
            return python
    return None


@pytest.fixture
def read():
    python = python_with_gstreamer()
    if python is None:
        pytest.skip("no OpenCV with GStreamer: apt-get install python3-opencv gstreamer1.0-plugins-base")

    def of(text):
        environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [python, str(READER), text], capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return of


def test_a_gstreamer_string_gives_its_frames_evenly_spaced_and_then_is_lost(read):
    said = read(
        f"videotestsrc is-live=true num-buffers=12 pattern=blue ! {CAPS} ! videoconvert ! video/x-raw,format=BGR "
        "! appsink sync=false"
    )
    assert [frame["shape"] for frame in said["frames"]] == [[48, 64, 3]] * 12
    blue, green, red = said["frames"][3]["corner"]
    assert blue > 200 and green < 50 and red < 50
    # Times are the source's own, which OpenCV gives in whole milliseconds. Opening may make the first ones late. A
    # source that is not live may be ahead of its reader, and OpenCV tells where the source is.
    steps_s = np.diff([frame["time_s"] for frame in said["frames"]])
    assert np.all(steps_s > 0)
    assert np.median(steps_s) == pytest.approx(0.1, abs=2e-3)
    assert "stopped" in said["lost"]


def test_a_gstreamer_string_that_cannot_run_is_lost_and_its_secrets_are_not_said(read):
    said = read("rtspsrc location=rtsp://me:s3cret@127.0.0.1:9/x user-pw=hunter2 ! nosuchelement ! appsink")
    assert said["frames"] == []
    assert "does not answer" in said["lost"]
    assert "s3cret" not in said["lost"] and "hunter2" not in said["lost"]

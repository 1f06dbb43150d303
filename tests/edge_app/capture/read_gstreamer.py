"""Reads a GStreamer string to its end and prints what came as JSON; for a Python whose OpenCV has GStreamer.

python read_gstreamer.py STRING
"""

from __future__ import annotations

import json
import sys

from edge_app.capture.address import parse_address
from edge_app.capture.opencv_stream import OpenCVStream, SourceLost

frames = []
lost = ""
try:
    for frame in OpenCVStream(parse_address(sys.argv[1]), timeout_s=5.0):
        corner = frame.image[0, 0].tolist()
        frames.append({"shape": frame.image.shape, "time_s": frame.time_s, "corner": corner})
except SourceLost as error:
    lost = str(error)
print(json.dumps({"frames": frames, "lost": lost}))

"""The live runner: threads of its own for capture, preparation, inference and interpretation; the newest frame only."""

from edge_app.capture.mailbox import Mailbox
from edge_app.live.run import run_live
from edge_app.live.runner import CameraSource, FrameProcessor, LiveRunner
from edge_app.live.state import LiveState, Snapshot

__all__ = ["CameraSource", "FrameProcessor", "LiveRunner", "LiveState", "Mailbox", "Snapshot", "run_live"]

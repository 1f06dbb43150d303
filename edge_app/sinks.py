"""What leaves the pipeline beside pictures: results and notices, for storage, alerts and whoever else listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edge_app.records import FrameResult, ViolationEvent

if TYPE_CHECKING:
    from edge_app.config import MetricsConfig

NoticeKind = Literal["source", "accelerator", "pipeline", "calibration", "storage"]


@dataclass(frozen=True)
class StatusNotice:
    """Something broke, or is well again.

    Attributes:
        camera: name of the camera that it is about.
        kind: what it is about.
        ok: True once it is well again.
        sentence: for a person: what, and what to do. Without secrets.
        utc_s: seconds since 1970, UTC.
    """

    camera: str
    kind: NoticeKind
    ok: bool
    sentence: str
    utc_s: float


class ResultSink(Protocol):
    """Takes results and notices. Called in the pipeline's thread: hand over and return, never wait, never raise."""

    def accept(self, camera: str, utc_s: float, result: FrameResult) -> None:
        """Take the result of one frame, which was captured at ``utc_s`` (seconds since 1970, UTC)."""

    def notice(self, notice: StatusNotice) -> None:
        """Take a notice."""

    def end(self, camera: str, events: tuple[ViolationEvent, ...]) -> None:
        """Take the events that were still open when the camera's source ended or the program was stopped."""

    def use_places(self, camera: str, metrics: MetricsConfig) -> None:
        """Count in this region and over this line from the next frame on; may be called from any thread."""

"""What the dashboard is about: its cameras, its settings, its history."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Optional, Protocol

from edge_app.accelerator.in_use import InferenceInUse
from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.delivery.post_office import WayOut
from edge_app.errors import UserError, did_you_mean
from edge_app.live import LiveRunner
from edge_app.masking import masked
from edge_app.pipeline import TAKEN_OVER
from edge_app.render import BirdsEye
from edge_app.storage.heat_history import HeatHistory
from edge_app.storage.rows import HeatMap
from edge_app.storage.store import Store, TimeRange
from edge_app.web.log_tail import LogTail
from edge_app.web.picture import LivePicture
from edge_app.web.security.security import Security
from edge_app.web.settings import Settings
from edge_app.web.streams import Streams


class Reconfigurable(Protocol):
    """What the dashboard needs of a pipeline.

    Attributes:
        camera: the calibration as it was made, at its own picture size.
    """

    camera: Optional[CameraModel]

    def reconfigure(self, config: Config) -> None:
        """Take thresholds, places and calibration of this camera over before the next frame."""


class CameraView:
    """One camera as the dashboard shows it.

    Attributes:
        name: of the camera in the configuration.
        runner: its live pipeline.
        picture: makes the live picture, once for all viewers.
        birdseye: the plan of its ground; None without a calibration.
    """

    def __init__(self, name: str, runner: LiveRunner, pipeline: Reconfigurable, config: Config) -> None:
        self.name = name
        self.runner = runner
        self._pipeline = pipeline
        self._config = config.for_each_camera().get(name, config)
        self.birdseye = _birdseye(pipeline.camera)
        self.picture = LivePicture(runner.state, self.birdseye, config.privacy.people, config.dashboard.max_fps)

    @property
    def camera(self) -> Optional[CameraModel]:
        """The calibration in use, for pictures of its own size."""
        return self._pipeline.camera

    @property
    def image_size(self) -> Optional[tuple[int, int]]:
        """Width and height of the newest picture, pixels; None before the first one."""
        snapshot = self.runner.state.latest()
        return None if snapshot is None else (snapshot.frame.image.shape[1], snapshot.frame.image.shape[0])

    @property
    def source_name(self) -> str:
        """The source, without secrets."""
        return masked(self.runner.state.source_name)

    def apply(self, config: Config) -> None:
        """Take over what can change while it runs; what this camera has no part in leaves its open events alone.

        Args:
            config: the whole configuration.

        Raises:
            UserError: the calibration can't be used; nothing has changed then.
        """
        mine = config.for_each_camera().get(self.name)
        if mine is None:
            raise UserError(f"the configuration names no camera '{self.name}' any more; start the program again")
        if any(getattr(mine, section) != getattr(self._config, section) for section in TAKEN_OVER):
            self._pipeline.reconfigure(mine)
            self.runner.use_places(mine.metrics)
            self.birdseye = _birdseye(self.camera)
            self.runner.state.calibrated = self.camera is not None
        self._config = mine
        self.picture.use(self.birdseye, config.privacy.people)


def _birdseye(camera: Optional[CameraModel]) -> Optional[BirdsEye]:
    return None if camera is None else BirdsEye(camera, (camera.image_width, camera.image_height))


@dataclass
class Site:
    """Everything that pages and API are about.

    Attributes:
        cameras: by name, in the order of the configuration; at least one.
        store: the history; None when nothing is kept.
        stopping: set when the server goes down; ends all streams.
        inference: says what does the inferences now; None where nothing is known of it.
        ways_out: says how each way out of messages does.
    """

    cameras: Mapping[str, CameraView]
    settings: Settings
    security: Security
    stopping: threading.Event
    store: Optional[Store]
    inference: Optional[Callable[[], InferenceInUse]] = None
    ways_out: Callable[[], list[WayOut]] = lambda: []
    streams: Streams = field(default_factory=Streams)
    log_tail: LogTail = field(default_factory=LogTail)
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._heat: Optional[HeatHistory] = None

    def heat(self, within: TimeRange) -> HeatMap:
        """Return where people spent their time; there is a store."""
        assert self.store is not None
        if self._heat is None or self._heat.store is not self.store:
            self._heat = HeatHistory(self.store)
        return self._heat.of(within)

    def camera(self, name: Optional[str]) -> CameraView:
        """Return a camera, the first one if none is named.

        Raises:
            UnknownCamera: there is none of that name.
        """
        if name is None:
            return next(iter(self.cameras.values()))
        if name not in self.cameras:
            raise UnknownCamera(f"there is no camera '{name}'{did_you_mean(name, self.cameras)}; see /api/v1/cameras")
        return self.cameras[name]

    def config_of(self, view: CameraView) -> Config:
        """Return the configuration of one camera alone."""
        return self.settings.config.for_each_camera()[view.name]

    def key_of(self, view: CameraView) -> tuple[str, ...]:
        """Return where in the configuration file the camera's own keys are."""
        return ("cameras", view.name) if self.settings.config.cameras else ()

    @property
    def hides_people(self) -> bool:
        """Whether people are hidden in pictures."""
        return self.settings.config.privacy.people != "show"


class UnknownCamera(UserError):
    """A camera that is not in the configuration."""

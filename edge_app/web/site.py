"""What the dashboard is about: its cameras, its settings, its history."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional, Protocol

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.errors import UserError, did_you_mean
from edge_app.live import LiveRunner
from edge_app.pipeline import camera_for
from edge_app.render import BirdsEye
from edge_app.storage.store import Store
from edge_app.web.picture import LivePicture
from edge_app.web.security.masking import mask_secrets
from edge_app.web.security.security import Security
from edge_app.web.settings import Settings
from edge_app.web.streams import Streams


class Reconfigurable(Protocol):
    """What the dashboard needs of a pipeline."""

    camera: Optional[CameraModel]

    def reconfigure(self, config: Config, camera: Optional[CameraModel]) -> None:
        """Take thresholds, places and calibration over before the next frame."""


class CameraView:
    """One camera as the dashboard shows it.

    Attributes:
        name: of the camera in the configuration.
        runner: its live pipeline.
        image_size: width, height of its pictures, pixels.
        picture: makes the live picture, once for all viewers.
        birdseye: the plan of its ground; None without a calibration.
    """

    def __init__(
        self,
        name: str,
        runner: LiveRunner,
        pipeline: Reconfigurable,
        image_size: tuple[int, int],
        config: Config,
    ) -> None:
        self.name = name
        self.runner = runner
        self.image_size = image_size
        self._pipeline = pipeline
        self.birdseye = BirdsEye(pipeline.camera, image_size) if pipeline.camera is not None else None
        self.picture = LivePicture(runner.state, self.birdseye, config.privacy.people, config.dashboard.max_fps)

    @property
    def camera(self) -> Optional[CameraModel]:
        """The calibration in use."""
        return self._pipeline.camera

    @property
    def source_name(self) -> str:
        """The source, without secrets."""
        return mask_secrets(self.runner.state.source_name)

    def apply(self, config: Config) -> None:
        """Take over what can change while it runs.

        Raises:
            UserError: the calibration can't be used; nothing has changed then.
        """
        camera = camera_for(config, self.image_size)
        self.birdseye = BirdsEye(camera, self.image_size) if camera is not None else None
        self.runner.state.calibrated = camera is not None
        self.picture.use(self.birdseye, config.privacy.people)
        self._pipeline.reconfigure(config, camera)


@dataclass
class Site:
    """Everything that pages and API are about.

    Attributes:
        cameras: by name, in the order of the configuration; at least one.
        store: the history; None when nothing is kept.
        stopping: set when the server goes down; ends all streams.
    """

    cameras: Mapping[str, CameraView]
    settings: Settings
    security: Security
    stopping: threading.Event
    store: Optional[Store]
    streams: Streams = field(default_factory=Streams)
    started_s: float = field(default_factory=time.monotonic)

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

    @property
    def hides_people(self) -> bool:
        """Whether people are hidden in pictures."""
        return self.settings.config.privacy.people != "show"


class UnknownCamera(UserError):
    """A camera that is not in the configuration."""

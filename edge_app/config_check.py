"""Checks that what a valid configuration names is really there and usable."""

from __future__ import annotations

from collections.abc import Iterator

from edge_app.calibration import load_camera
from edge_app.capture.open_camera import open_camera
from edge_app.capture.opencv_stream import SourceLost
from edge_app.config import Config
from edge_app.delivery.post_office import PostOffice
from edge_app.detector import load_detector
from edge_app.pipeline import camera_for, check_region
from edge_app.web.server import check_dashboard


def check_references(config: Config) -> Iterator[str]:
    """Open the configured model, calibration, ways out and source; yield a line on each. The dashboard is judged, too.

    Whether a calibration fits the pictures is told only of a source that answers now.

    Raises:
        UserError: the first one that cannot be used.
    """
    check_dashboard(config.dashboard)
    detector = load_detector(config.model)
    yield f"model: {detector.name}, {detector.input.width}x{detector.input.height} {detector.input.dtype}"
    for name, camera_config in config.for_each_camera().items():
        title = f"calibration of {name}" if config.cameras else "calibration"
        if camera_config.calibration is None:
            yield f"{title}: none, so no distances will be claimed"
        else:
            camera = load_camera(camera_config.calibration)
            check_region(camera_config, camera)
            yield f"{title}: {camera_config.calibration.name}, for {camera.image_width}x{camera.image_height} pictures"
    if config.storage.enabled:
        post = PostOffice(config)
        yield f"storage: {config.storage.path}; alerts: {len(config.alerts.rules)} rules, sent to: {post.describe()}"
    for name, camera_config in config.for_each_camera().items():
        if camera_config.source.uri is None:
            yield "source: none, to be given on the command line"
            continue
        title = f"source of {name}" if config.cameras else "source"
        try:
            source = open_camera(camera_config.source)
        except SourceLost as error:
            # It may be switched off now and still be right: run waits for it.
            yield f"{title}: {error}"
            continue
        source.close()
        camera_for(camera_config, (source.width, source.height))
        yield f"{title}: {source.name}, {source.width}x{source.height} at {source.fps:g} frames a second"

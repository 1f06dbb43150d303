"""Checks that what a valid configuration names is really there and usable."""

from __future__ import annotations

from collections.abc import Iterator

from edge_app.calibration import load_camera
from edge_app.config import Config
from edge_app.delivery.post_office import PostOffice
from edge_app.detector import load_detector
from edge_app.source import open_source


def check_references(config: Config) -> Iterator[str]:
    """Open the configured model, calibration, ways out and source; yield a line on each.

    Raises:
        UserError: the first one that cannot be used.
    """
    detector = load_detector(config.model)
    yield f"model: {detector.name}, {detector.input.width}x{detector.input.height} {detector.input.dtype}"
    if config.calibration is None:
        yield "calibration: none, so no distances will be claimed"
    else:
        camera = load_camera(config.calibration)
        yield f"calibration: {config.calibration.name}, for {camera.image_width}x{camera.image_height} pictures"
    if config.storage.enabled:
        post = PostOffice(config)
        yield f"storage: {config.storage.path}; alerts: {len(config.alerts.rules)} rules, sent to: {post.describe()}"
    if config.source.uri is None:
        yield "source: none, to be given on the command line"
    else:
        source = open_source(config.source)
        yield f"source: {source.name}, {source.width}x{source.height} at {source.fps:g} frames a second"
        source.close()

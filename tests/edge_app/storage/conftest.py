from __future__ import annotations

import pytest

from edge_app.storage import StorageConfig, Store
from edge_app.storage.sink import StorageSink


@pytest.fixture
def config(tmp_path):
    return StorageConfig(folder=tmp_path / "state", min_free_mb=0, commit_s=0.02)


@pytest.fixture
def opened(config):
    """Open sinks that are closed at the end whatever happens."""
    sinks = []

    def open_sink(config=config, metrics=None):
        sink = StorageSink(config, metrics or {})
        sinks.append(sink)
        sink.start()
        return sink

    yield open_sink
    for sink in sinks:
        if sink.writer.is_open:
            sink.close()


@pytest.fixture
def store(config):
    return Store.open(config.path)

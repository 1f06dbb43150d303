"""A disk that is really full under a live run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge_app.config import SAMPLE, parse_config
from edge_app.live.run import LiveSystem
from edge_app.records import Detections
from edge_app.storage import StorageConfig, Store
from edge_app.storage.sink import StorageSink
from edge_app.storage.statements import add_event
from tests.edge_app.storage.made import event
from tests.edge_app.waiting import wait_until


class Nobody:
    """A detector that finds nobody."""

    name, input = "nobody", None

    def preprocess(self, image):
        return image.shape, None

    def invoke(self, tensor):
        time.sleep(0.005)
        return tensor

    def decode(self, outputs, geometry):
        return Detections.empty()


@pytest.fixture
def live(small_disk):
    told = []
    sink = StorageSink(StorageConfig(folder=small_disk, min_free_mb=0, commit_s=0.05), {}, on_notice=told.append)
    sink.start()
    clip = {"uri": str(SAMPLE / "pets_s2l1_excerpt.mp4"), "loop": True, "pace": "fast"}
    config = parse_config({"source": clip, "motion_gate": {"enabled": False}}, "test", Path.cwd())
    system = LiveSystem(config, [sink], Nobody())
    system.start()
    yield system.runners["camera"], sink, told
    system.stop()
    if sink.writer.is_open:
        sink.close()


def test_frames_go_on_while_the_disk_is_full_and_what_was_to_be_stored_is_stored_afterwards(
    live, small_disk, monkeypatch
):
    monkeypatch.setattr("edge_app.storage.writer._RETRY_S", 0.1)
    runner, sink, told = live
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    put = 0

    def is_noticed():
        nonlocal put
        sink.writer.put(add_event(event(put + number)) for number in range(200))
        put += 200
        return sink.health()["paused"] is not None

    wait_until(is_noticed)
    before = runner.state.health()["frames"]
    wait_until(lambda: runner.state.health()["frames"] > before + 50)
    assert [notice.ok for notice in told] == [False]
    assert "full" in told[0].sentence
    ballast.unlink()
    wait_until(lambda: sink.health()["paused"] is None)
    sink.close()
    assert [notice.ok for notice in told] == [False, True]
    assert sink.health()["rows_lost"] == 0
    assert Store(sink.writer.path).events().total == put

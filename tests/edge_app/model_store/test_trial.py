from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.config import DEFAULT_MODEL, SAMPLE, Config, ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from edge_app.live.run import LiveSystem
from edge_app.manifest import sha256_of
from edge_app.model_store.install import install
from edge_app.model_store.self_test import SelfTest
from edge_app.model_store.store import Slot, StoreState
from edge_app.model_store.trial import WatchedDetector, open_watched
from edge_app.pipeline import Pipeline
from edge_app.source import VideoFile
from edge_app.tiles.config import TilesConfig
from edge_app.tiles.tiled_detector import TiledDetector
from tests.edge_app.videos import write_video

FRAME = np.zeros((48, 64, 3), np.uint8)


class FakeDetector:
    """Fails on the frames that it is told to."""

    def __init__(self, name, fails=lambda frame: False):
        self.name, self.runtime, self.frames = name, "fake", 0
        self._fails = fails

    def preprocess(self, image):
        return image, None

    def invoke(self, tensor):
        self.frames += 1
        if self._fails(self.frames):
            raise RuntimeError("delegate failed")
        return tensor

    def decode(self, outputs, geometry):
        return outputs


def put(store, bundle):
    """An installed bundle without a model in it."""
    folder = store.folder_of(bundle)
    folder.mkdir(parents=True)
    files = {name: {"size": 0, "sha256": "0" * 64} for name in ("m.tflite", "m.json", "g.json")}
    index = {
        "name": "m", "released_utc": 1, "made_with": "0", "min_app_version": "0", "model": "m.tflite",
        "golden": "g.json", "files": files,
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(index))
    (folder / "m.tflite").write_bytes(b"")
    return Slot(bundle=bundle, variant="cpu")


@pytest.fixture
def on_trial(store):
    """A store whose model 'new' is on trial, with 'old' before it."""
    old, new = put(store, "old"), put(store, "new")
    store.write_state(StoreState(current=new, previous=old, on_trial=True))
    return store


def opener_of(**fails):
    def opener(config):
        fail = fails.get(config.path.parent.name)
        if fail == "open":
            raise UserError("model cannot be loaded; the file is damaged")
        return FakeDetector(config.path.parent.name, fail or (lambda frame: False))

    return opener


def go(detector, frames):
    failed = 0
    for _ in range(frames):
        tensor, geometry = detector.preprocess(FRAME)
        try:
            detector.decode(detector.invoke(tensor), geometry)
        except RuntimeError:
            failed += 1
    return failed


def test_a_model_that_works_for_its_trial_stays(on_trial):
    detector = WatchedDetector(FakeDetector("new"), ModelConfig(), opener_of(), on_trial, trial_s=0.0)
    go(detector, 29)
    assert on_trial.state().on_trial
    go(detector, 1)
    state = on_trial.state()
    assert (state.on_trial, state.current.bundle, state.previous.bundle) == (False, "new", "old")


def test_a_short_time_of_frames_proves_nothing_yet(on_trial):
    go(open_watched(ModelConfig(), opener_of(), on_trial), 100)
    assert on_trial.state().on_trial


def test_a_model_that_cannot_be_opened_is_left_at_once(on_trial, caplog):
    detector = open_watched(ModelConfig(), opener_of(new="open"), on_trial)
    assert detector.name == "old"
    state = on_trial.state()
    assert (state.current.bundle, state.on_trial) == ("old", False)
    assert "cannot be opened" in state.failures[-1].reason
    assert "was left again" in caplog.text


def test_two_processes_that_leave_it_at_once_go_back_one_step(on_trial):
    def opener(config):
        if config.path.parent.name == "old":
            return FakeDetector("old")
        # Another process is faster.
        on_trial.change_state(lambda now: now.left("it cannot be opened", 0.0))
        raise UserError("model cannot be loaded; the file is damaged")

    assert open_watched(ModelConfig(), opener, on_trial).name == "old"
    state = on_trial.state()
    assert state.current.bundle == "old"
    assert len(state.failures) == 1


def test_a_model_that_fails_three_times_in_a_row_is_changed_between_two_frames(on_trial):
    detector = open_watched(ModelConfig(), opener_of(new=lambda frame: frame > 5), on_trial)
    assert go(detector, 20) == 3
    assert detector.name == "old"
    assert on_trial.state().current.bundle == "old"
    assert "failed on 3 frames in a row: delegate failed" in on_trial.state().failures[-1].reason


def test_a_model_on_trial_looks_at_tiles(on_trial):
    watched = open_watched(ModelConfig(), lambda config: load_detector(ModelConfig(path=DEFAULT_MODEL)), on_trial)
    picture = next(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4"))).image
    tiles = TilesConfig(mode="on")
    found = detect(TiledDetector(watched, tiles, None), picture)
    expected = detect(TiledDetector(load_detector(ModelConfig(path=DEFAULT_MODEL)), tiles, None), picture)
    assert len(found) > 0
    np.testing.assert_array_equal(found.bbox, expected.bbox)


def test_a_model_whose_outputs_cannot_be_read_is_changed_too(on_trial):
    class Unreadable(FakeDetector):
        def decode(self, outputs, geometry):
            raise RuntimeError("outputs of another shape")

    def opener(config):
        return Unreadable("new") if config.path.parent.name == "new" else FakeDetector("old")

    detector = open_watched(ModelConfig(), opener, on_trial)
    assert go(detector, 20) == 3
    assert detector.name == "old"


def test_single_faults_do_not_change_it(on_trial):
    detector = open_watched(ModelConfig(), opener_of(new=lambda frame: frame % 2 == 0), on_trial)
    assert go(detector, 20) == 10
    assert on_trial.state().current.bundle == "new"


def test_a_process_that_dies_with_it_again_and_again_leaves_it(on_trial):
    code = (
        "import os, signal\n"
        "from edge_app.config import ModelConfig\n"
        "from edge_app.model_store.trial import open_watched\n"
        "open_watched(ModelConfig(), lambda config: os.kill(os.getpid(), signal.SIGKILL), counts_start=True)\n"
    )
    for start in range(3):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
        assert on_trial.state().starts == start + 1
    assert open_watched(ModelConfig(), opener_of(), on_trial).name == "old"
    assert "ended 3 times in disorder" in on_trial.state().failures[-1].reason


@pytest.mark.parametrize("counts_start", [True, False])
def test_a_process_that_ends_at_a_fault_of_the_model_does_not_end_in_order(on_trial, counts_start):
    code = (
        "from edge_app.config import ModelConfig\n"
        "from edge_app.model_store.trial import open_watched\n"
        "class Broken:\n"
        "    name = 'x'\n"
        "    def preprocess(self, image): return image, None\n"
        "    def invoke(self, tensor): raise RuntimeError('delegate failed')\n"
        f"detector = open_watched(ModelConfig(), lambda config: Broken(), counts_start={counts_start})\n"
        "detector.invoke(detector.preprocess(None)[0])\n"
    )
    for start in range(3):
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        assert "delegate failed" in done.stderr
        assert on_trial.state().starts == start + 1
    assert open_watched(ModelConfig(), opener_of(), on_trial).name == "old"


def test_an_orderly_end_is_no_sign_against_it(on_trial):
    code = (
        "from edge_app.config import ModelConfig\n"
        "from edge_app.model_store.store import ModelStore\n"
        "from edge_app.model_store.trial import open_watched\n"
        "open_watched(ModelConfig(), lambda config: type('D', (), {'name': 'x'})(), counts_start=True)\n"
        "print(ModelStore().state().starts)\n"
        "raise KeyboardInterrupt\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert on_trial.state().starts == 0


def test_several_openings_at_once_are_no_sign_against_it(on_trial):
    running = [open_watched(ModelConfig(), opener_of(), on_trial, counts_start=True) for _ in range(5)]
    assert on_trial.state().starts == 1
    analysing = [open_watched(ModelConfig(), opener_of(), on_trial) for _ in range(5)]
    assert {detector.name for detector in (*running, *analysing)} == {"new"}
    assert on_trial.state().starts == 1


def test_it_is_not_judged_while_a_process_works_with_it_at_the_third_try(on_trial):
    on_trial.write_state(on_trial.state().model_copy(update={"starts": 2}))
    at_work = open_watched(ModelConfig(), opener_of(), on_trial, counts_start=True)
    assert on_trial.state().starts == 3
    assert open_watched(ModelConfig(), opener_of(), on_trial).name == at_work.name == "new"


def test_an_analysis_that_is_killed_is_no_sign_against_it(on_trial):
    code = (
        "import os, signal\n"
        "from edge_app.config import ModelConfig\n"
        "from edge_app.model_store.trial import open_watched\n"
        "open_watched(ModelConfig(), lambda config: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert on_trial.state().starts == 0


def test_an_analysis_counts_one_fault(on_trial):
    go(open_watched(ModelConfig(), opener_of(new=lambda frame: frame % 2 == 0), on_trial), 20)
    assert on_trial.state().starts == 1


@pytest.mark.parametrize("counts_start", [True, False])
def test_a_store_that_cannot_be_written_is_told_and_the_model_is_used(on_trial, caplog, counts_start):
    (on_trial.folder / "trial.lock").mkdir()
    detector = open_watched(ModelConfig(), opener_of(), on_trial, counts_start=counts_start)
    assert detector.name == "new"
    assert isinstance(detector, FakeDetector)
    assert caplog.text.count("cannot be watched") == 1


def test_a_store_that_can_be_written_no_more_is_told_and_the_model_is_used(on_trial, caplog):
    detector = WatchedDetector(FakeDetector("new"), ModelConfig(), opener_of(), on_trial, trial_s=0.0)
    (on_trial.folder / "state.lock").mkdir()
    assert go(detector, 50) == 0
    assert not detector.on_trial
    assert caplog.text.count("cannot be watched") == 1


def test_a_model_that_fails_is_left_by_a_process_that_cannot_write_it_down(on_trial, caplog):
    detector = open_watched(ModelConfig(), opener_of(new=lambda frame: frame > 5), on_trial)
    (on_trial.folder / "state.lock").mkdir()
    assert go(detector, 20) == 3
    assert detector.name == "old"
    assert on_trial.state().current.bundle == "new"
    assert "cannot be watched" in caplog.text


def test_with_nothing_before_it_the_model_that_ships_takes_over(store):
    store.write_state(StoreState(current=put(store, "new"), on_trial=True))

    def opener(config):
        if config.path != DEFAULT_MODEL:
            raise UserError("damaged")
        return FakeDetector("ships")

    assert open_watched(ModelConfig(), opener, store).name == "ships"
    assert store.state().current is None


def test_a_model_that_was_installed_meanwhile_is_not_touched(on_trial):
    detector = open_watched(ModelConfig(), opener_of(new=lambda frame: True), on_trial)
    on_trial.write_state(StoreState(current=put(on_trial, "newest"), on_trial=True))
    go(detector, 5)
    assert on_trial.state().current.bundle == "newest"


def test_frames_of_the_model_before_go_to_that_model(on_trial):
    detector = open_watched(ModelConfig(), opener_of(new=lambda frame: frame > 1), on_trial)
    before = [detector.preprocess(FRAME) for _ in range(5)]
    failed = 0
    for tensor, geometry in before:
        try:
            detector.decode(detector.invoke(tensor), geometry)
        except RuntimeError:
            failed += 1
    assert failed == 4
    assert detector.name == "new"
    tensor, _ = detector.preprocess(FRAME)
    assert detector.name == "old"
    assert tensor[0].name == "old"


def test_a_model_that_is_proven_or_chosen_by_hand_is_not_watched(on_trial, tmp_path):
    other = ModelConfig(path=tmp_path / "mine.tflite")
    assert isinstance(open_watched(other, opener_of(), on_trial), FakeDetector)
    on_trial.write_state(on_trial.state().model_copy(update={"on_trial": False}))
    assert isinstance(open_watched(ModelConfig(), opener_of(), on_trial), FakeDetector)


def test_the_pipeline_watches_a_newly_installed_model(good_bundle, store, monkeypatch):
    monkeypatch.setattr("edge_app.model_store.install.try_bundle", lambda *_: SelfTest("cpu", ()))
    install(str(good_bundle), store)
    pipeline = Pipeline.from_config(Config(), (64, 48))
    assert isinstance(pipeline.detector, WatchedDetector)
    assert pipeline.model_name == DEFAULT_MODEL.stem
    assert pipeline.runtime
    assert store.state().on_trial
    assert store.state().starts == 0


def test_run_counts_its_start(good_bundle, store, monkeypatch):
    monkeypatch.setattr("edge_app.model_store.install.try_bundle", lambda *_: SelfTest("cpu", ()))
    install(str(good_bundle), store)
    LiveSystem(Config(source={"uri": str(SAMPLE / "pets_s2l1_excerpt.mp4")}))
    assert store.state().starts == 1


def test_results_name_the_model_that_was_used_not_the_one_that_was_left(store, tmp_path):
    store.write_state(StoreState(current=put(store, "new"), on_trial=True))
    config = Config()
    assert config.model.path.parent.name == "new"
    options = AnalysisOptions(write_video(tmp_path / "grey.avi", frames=3), tmp_path / "out", config, progress=False)
    assert analyze(options)["fingerprints"]["model"] == sha256_of(DEFAULT_MODEL)
    assert store.state().current is None

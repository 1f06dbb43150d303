from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_app.accelerator.child_interpreter import AcceleratorLost
from edge_app.accelerator.guarded_detector import GuardedDetector
from edge_app.accelerator.in_use import inference_in_use
from edge_app.accelerator.open_detector import cpu_twin, open_detector
from edge_app.accelerator.temperature import read_temperatures
from edge_app.capture.backoff import Backoff
from edge_app.config import DEFAULT_MODEL, ModelConfig
from edge_app.errors import UserError
from edge_app.manifest import InputSpec
from tests.edge_app.waiting import wait_until


class Model:
    name = "m"

    def __init__(self, answer, fails_at=(), width=2):
        self.answer, self.fails_at, self.calls = answer, set(fails_at), 0
        self.input = InputSpec(width=width, height=2, dtype="uint8")

    def preprocess(self, image):
        return image, None

    def invoke(self, tensor):
        self.calls += 1
        if self.calls in self.fails_at:
            raise AcceleratorLost("the accelerator does not answer in time")
        return self.answer

    def decode(self, outputs, geometry):
        # The other model may give its outputs in another form.
        assert outputs == self.answer
        return outputs


def answer(guarded):
    return guarded.decode(guarded.invoke(None), None)


def quick():
    return Backoff(first_s=0.01, longest_s=0.02, seed=0)


def test_the_frame_that_the_accelerator_failed_on_is_done_by_the_cpu_at_once():
    said = []
    guarded = GuardedDetector(lambda: Model("tpu again"), Model("tpu", fails_at=[3]), Model("cpu"), Backoff(60, 60))
    guarded.listen(lambda ok, sentence: said.append((ok, sentence)))
    assert [answer(guarded) for _ in range(5)] == ["tpu", "tpu", "cpu", "cpu", "cpu"]
    assert guarded.in_use == "cpu"
    assert said == [(False, said[0][1])]
    assert "found by the CPU" in said[0][1]
    guarded.close()


def test_the_accelerator_is_tried_again_until_it_works_and_every_change_is_said():
    tries, said = iter([AcceleratorLost("gone"), AcceleratorLost("gone"), Model("tpu again")]), []

    def opener():
        result = next(tries)
        if isinstance(result, Exception):
            raise result
        return result

    guarded = GuardedDetector(opener, Model("tpu", fails_at=[1]), Model("cpu"), quick())
    guarded.listen(lambda ok, _: said.append(ok))
    assert answer(guarded) == "cpu"
    wait_until(lambda: guarded.in_use == "accelerator")
    assert answer(guarded) == "tpu again"
    wait_until(lambda: said == [False, True])
    assert (guarded.failures, guarded.reopened) == (1, 1)


def test_pauses_grow_for_an_accelerator_that_comes_and_goes_and_begin_anew_after_a_steady_one(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr("edge_app.accelerator.guarded_detector.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    backoff = quick()
    guarded = GuardedDetector(lambda: Model("tpu", fails_at=[1]), Model("tpu", fails_at=[1]), Model("cpu"), backoff)
    for steady_s, expected in ((1.0, 1), (1.0, 2), (61.0, 1)):
        wait_until(lambda: guarded.in_use == "accelerator")
        now_s[0] += steady_s
        assert answer(guarded) == "cpu"
        wait_until(lambda: guarded.in_use == "accelerator")
        assert backoff.failures == expected


def test_without_a_twin_frames_fail_until_the_accelerator_is_back():
    guarded = GuardedDetector(lambda: Model("tpu again"), Model("tpu", fails_at=[1]), None, quick())
    with pytest.raises(AcceleratorLost):
        guarded.invoke(None)
    wait_until(lambda: guarded.in_use == "accelerator")
    assert answer(guarded) == "tpu again"


def test_who_listens_late_is_told_of_a_fault_that_lasts():
    guarded = GuardedDetector(lambda: Model("x"), None, Model("cpu"), Backoff(60, 60))
    guarded.report_missing("no Edge TPU answers")
    said = []
    guarded.listen(lambda ok, sentence: said.append((ok, sentence)))
    assert said
    assert not said[0][0]
    guarded.close()


def compiled_copy(folder: Path) -> Path:
    """A file that looks like the compiler's output to everybody but an Edge TPU."""
    path = folder / "m_edgetpu.tflite"
    path.write_bytes(DEFAULT_MODEL.read_bytes() + b"edgetpu-custom-op")
    return path


def test_a_compiled_model_without_an_accelerator_starts_on_its_twin_and_says_so(tmp_path):
    path = compiled_copy(tmp_path)
    shutil.copy(DEFAULT_MODEL, tmp_path / "m.tflite")
    detector = open_detector(ModelConfig(path=path))
    assert isinstance(detector, GuardedDetector)
    said = []
    detector.listen(lambda ok, sentence: said.append((ok, sentence)))
    assert not said[0][0]
    assert "libedgetpu" in said[0][1] or "Edge TPU" in said[0][1]
    tensor, geometry = detector.preprocess(np.zeros((40, 40, 3), np.uint8))
    detector.decode(detector.invoke(tensor), geometry)
    detector.close()


def test_a_compiled_model_without_accelerator_and_twin_is_refused(tmp_path):
    with pytest.raises(UserError, match="compiled for the Edge TPU but"):
        open_detector(ModelConfig(path=compiled_copy(tmp_path)))


def test_the_twin_is_found_by_name_or_configuration(tmp_path):
    path = compiled_copy(tmp_path)
    assert cpu_twin(ModelConfig(path=path)) is None
    (tmp_path / "m.tflite").touch()
    assert cpu_twin(ModelConfig(path=path)) == tmp_path / "m.tflite"
    assert cpu_twin(ModelConfig(path=path, cpu_twin=tmp_path / "other.tflite")) == tmp_path / "other.tflite"


def test_temperatures_are_read_and_throttling_is_told(tmp_path):
    for name, milli in (("apex_0", 84800), ("apex_1", 41000), ("apex_2", -89000)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "temp").write_text(f"{milli}\n")
        for number, trip in enumerate((85000, 90000, 95000)):
            (folder / f"trip_point{number}_temp").write_text(f"{trip - 5000}\n")
    (tmp_path / "apex_3").mkdir()
    found = read_temperatures(tmp_path)
    assert [(item.device, item.celsius, item.clock_divisor) for item in found] == [
        ("apex_0", 84.8, 2),
        ("apex_1", 41.0, 1),
    ]
    assert read_temperatures(tmp_path / "none") == []


def test_what_is_in_use_is_said_before_and_after_a_failure():
    config = ModelConfig(device="usb:0", threads=1)
    tpu, cpu = Model("tpu", fails_at=[1]), Model("cpu")
    tpu.runtime, cpu.runtime = "Edge TPU, in a process of its own", "ai_edge_litert 2"
    guarded = GuardedDetector(lambda: tpu, tpu, cpu, Backoff(60, 60))
    now = inference_in_use(guarded, guarded, config)
    assert (now.kind, now.device, now.runtime) == ("Edge TPU", "usb:0", tpu.runtime)
    assert (now.fallback, now.problem) == ("the CPU stands by", None)
    guarded.invoke(None)
    now = inference_in_use(guarded, guarded, config)
    assert (now.kind, now.device, now.runtime, now.failures) == ("CPU", "1 thread", cpu.runtime, 1)
    assert now.fallback == "stands in for the Edge TPU (usb:0)"
    assert "does not answer in time" in now.problem
    guarded.close()


def test_without_an_accelerator_the_cpu_is_in_use():
    model = Model("cpu")
    model.runtime = "ai_edge_litert 2"
    now = inference_in_use(model, None, ModelConfig())
    assert (now.kind, now.device, now.runtime, now.problem) == ("CPU", "2 threads", "ai_edge_litert 2", None)


def test_an_accelerator_without_a_twin_says_that_nothing_stands_in():
    guarded = GuardedDetector(lambda: Model("tpu"), Model("tpu", fails_at=[1]), None, Backoff(60, 60))
    assert "nobody is found" in inference_in_use(guarded, guarded, ModelConfig()).fallback
    with pytest.raises(AcceleratorLost):
        guarded.invoke(None)
    assert inference_in_use(guarded, guarded, ModelConfig()).kind == "none"
    guarded.close()

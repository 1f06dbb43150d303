from __future__ import annotations

import numpy as np
import pytest

from edge_app.config import DEFAULT_MODEL, SAMPLE, ModelConfig
from edge_app.detector import detect, load_detector
from edge_app.errors import UserError
from edge_app.interpreter import make_interpreter
from edge_app.kernels import fastest, resolver_of
from edge_app.source import VideoFile


def test_reference_kernels_are_asked_for_and_named():
    detectors = [load_detector(ModelConfig(path=DEFAULT_MODEL, kernels=kernels)) for kernels in ("fast", "reference")]
    assert detectors[1].runtime == f"{detectors[0].runtime}, reference kernels"
    picture = next(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4"))).image
    for detector in detectors:
        assert len(detect(detector, picture)) > 0


def test_a_runtime_built_for_another_numpy_is_told(monkeypatch):
    runtime = pytest.importorskip("ai_edge_litert.interpreter")

    def broken(*_, **__):
        raise SystemError("CreateWrapperFromBuffer returned a result with an error set")

    monkeypatch.setattr(runtime, "Interpreter", broken)
    with pytest.raises(UserError, match=r"built for another NumPy than .*doctor"):
        make_interpreter(DEFAULT_MODEL, device="cpu", threads=1, deadline_s=1.0)


def test_the_runtime_decides_unless_reference_kernels_are_wanted():
    class Runtime:
        class OpResolverType:
            BUILTIN_REF = 2

    assert resolver_of(Runtime, "fast") == {}
    assert resolver_of(Runtime, "reference") == {"experimental_op_resolver_type": 2}


@pytest.mark.parametrize(
    ("label", "dtype", "machine", "kernels"),
    [
        ("tflite_runtime 2.9.1", np.uint8, "x86_64", "reference"),
        ("tflite_runtime 2.7.0", np.int8, "x86_64", "reference"),
        ("tflite_runtime 2.9.1", np.float32, "x86_64", "fast"),
        ("tflite_runtime 2.9.1", np.uint8, "aarch64", "fast"),
        ("tflite_runtime 2.14.0", np.uint8, "x86_64", "fast"),
        ("ai_edge_litert 2.3.0", np.uint8, "x86_64", "fast"),
        ("tflite_runtime", np.uint8, "x86_64", "fast"),
    ],
)
def test_an_old_runtime_on_x86_is_faster_with_reference_kernels_for_quantised_models(label, dtype, machine, kernels):
    assert fastest(label, dtype, machine) == kernels

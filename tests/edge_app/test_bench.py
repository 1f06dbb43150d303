from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from edge_app.bench.hog import HogDetector
from edge_app.bench.simulated import SimulatedDetector
from edge_app.config import SAMPLE
from edge_app.source import VideoFile


class Recorded:
    name, input = "m", None

    def preprocess(self, image):
        return image, None

    def decode(self, outputs, geometry):
        return outputs


def test_a_simulated_inference_takes_its_time_without_the_processor_and_gives_recorded_outputs():
    detector = SimulatedDetector(Recorded(), ["a", "b"], 0.05)
    started, cpu = time.perf_counter(), time.process_time()
    assert [detector.invoke(None) for _ in range(3)] == ["a", "b", "a"]
    assert time.perf_counter() - started >= 0.15
    assert time.process_time() - cpu < 0.1


def test_opencvs_detector_finds_people_in_source_pixels():
    frame = next(iter(VideoFile(SAMPLE / "pets_s2l1_excerpt.mp4")))
    found = HogDetector()(frame.image)
    assert len(found) > 0
    assert np.all((found.score > 0) & (found.score < 1))
    assert np.all(found.bbox[:, 2:] > found.bbox[:, :2])


@pytest.mark.slow
def test_bench_measures_stages_throughput_delay_memory_and_start_with_a_simulated_inference():
    command = [sys.executable, "-m", "edge_app", "bench", "--rounds", "1", "--frames", "50", "--json"]
    command += ["--config", "config/demo.yaml", "--simulate-inference-ms", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["stages_ms"]) == {
        "decode", "preprocess", "inference", "post-process", "tracking", "distances, groups, events", "write results",
        "render", "encode",
    }  # fmt: skip
    assert result["stages_ms"]["inference"]["median"] >= 5.0
    assert set(result["frames_per_s"]) == {"inference", "plain_loop", "live"}
    # Inferences come every 5 ms at the most; the first result that counts may come late by what follows it.
    assert 0 < result["frames_per_s"]["live"] <= 250
    assert result["live"]["dropped"] == 0
    assert result["live"]["peak_memory_mb"] > 20
    assert set(result["delay"]) == {"realtime", "overload"}
    assert result["a53"]["cpu_ms_low"] > result["live"]["cpu_ms_per_frame"]

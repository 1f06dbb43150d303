"""Measures how long each stage takes and what analysis costs beside decoding and inference alone."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.analysis.overlap import Overlapped
from edge_app.analysis.result_files import ResultFiles
from edge_app.analysis.stages import StageTimes, infer, prepare
from edge_app.config import SAMPLE, Config
from edge_app.detector import load_detector
from edge_app.pipeline import Pipeline
from edge_app.source import VideoFile

SAMPLE_CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
_STAGE_FRAMES = 300


def run_bench(config: Config, video: Optional[Path], rounds: int) -> dict[str, Any]:
    """Measure stages one after the other, then whole runs of three kinds in turn.

    Each whole run loads the model, opens the video and goes through all of it: ``sequential`` reads and detects in one
    plain loop, ``overlapped`` does the same with decoding and inference in threads of their own, ``analyze`` is the
    product with tracking, distances, events and all result files. Runs are interleaved, so that a busy machine slows
    all three alike; read the ratios, not the rates.

    Args:
        config: model, calibration and thresholds to use.
        video: None takes the sample clip.
        rounds: repetitions of the three runs.

    Raises:
        UserError: the model or the video cannot be used.
    """
    path = video or SAMPLE_CLIP
    stages = _measure_stages(config, path)
    runs = {"sequential": _run_sequential, "overlapped": _run_overlapped, "analyze": _run_analyze}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            frames = run(config, path)
            rates[name].append(frames / (time.perf_counter() - started))
    ratios = [rate / alone for rate, alone in zip(rates["analyze"], rates["overlapped"])]
    return {
        "video": path.name,
        "machine": {"cpus": os.cpu_count(), "architecture": platform.machine()},
        "stages_ms": stages,
        "frames_per_s": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "analyze_to_decode_and_inference": round(statistics.median(ratios), 3),
        "rounds": rounds,
    }


def format_bench(result: dict[str, Any]) -> str:
    """Return a table for people."""
    lines = [f"{result['video']}, {result['machine']['cpus']} CPUs ({result['machine']['architecture']})", ""]
    lines.append(f"{'stage':<24}{'median ms':>10}{'p95 ms':>10}")
    lines += [f"{name:<24}{row['median']:>10.2f}{row['p95']:>10.2f}" for name, row in result["stages_ms"].items()]
    rates = result["frames_per_s"]
    lines += [
        "",
        f"whole runs, median of {result['rounds']} interleaved rounds, frames a second",
        f"{'decode + inference, plain loop':<36}{rates['sequential']:>8.1f}",
        f"{'decode + inference, overlapped':<36}{rates['overlapped']:>8.1f}",
        f"{'analyze':<36}{rates['analyze']:>8.1f}",
        f"analyze reaches {result['analyze_to_decode_and_inference']:.2f} of decode + inference overlapped",
    ]
    return "\n".join(lines)


def _measure_stages(config: Config, path: Path) -> dict[str, dict[str, float]]:
    """Time the stages of up to 300 frames, one after the other in one thread."""
    source = VideoFile(path, fps=config.source.fps)
    pipeline = Pipeline.from_config(config, (source.width, source.height))
    times: dict[str, list[float]] = {}

    def lap(stage: str, since: float) -> float:
        now = time.perf_counter()
        times.setdefault(stage, []).append(1000 * (now - since))
        return now

    with tempfile.TemporaryDirectory() as folder:
        files = ResultFiles(Path(folder))
        frames = iter(source)
        since = time.perf_counter()
        for frame in islice(frames, _STAGE_FRAMES):
            since = lap("decode", since)
            tensor, geometry = pipeline.detector.preprocess(frame.image)
            since = lap("preprocess", since)
            outputs = pipeline.detector.invoke(tensor)
            since = lap("inference", since)
            detections = pipeline.detector.decode(outputs, geometry)
            since = lap("boxes", since)
            result = pipeline.interpret(frame.index, frame.time_s, detections)
            since = lap("track, ground, events", since)
            files.write(result)
            since = lap("write results", since)
        files.close()
    source.close()
    return {stage: _summary(values) for stage, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}


def _count(items: Iterable[Any]) -> int:
    return sum(1 for _ in items)


def _run_sequential(config: Config, path: Path) -> int:
    source, detector, times = VideoFile(path, fps=config.source.fps), load_detector(config.model), StageTimes()
    count = _count(infer(prepare(source, detector, 1, times), detector, times))
    source.close()
    return count


def _run_overlapped(config: Config, path: Path) -> int:
    source, detector, times = VideoFile(path, fps=config.source.fps), load_detector(config.model), StageTimes()
    prepared = Overlapped(prepare(source, detector, 1, times), "decode")
    with prepared, Overlapped(infer(prepared, detector, times), "inference") as detected:
        count = _count(detected)
    source.close()
    return count


def _run_analyze(config: Config, path: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        summary = analyze(AnalysisOptions(path, Path(folder) / "out", config, progress=False))
    return int(summary["frames_analysed"])

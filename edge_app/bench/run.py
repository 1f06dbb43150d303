"""The whole benchmark: stages, then runs of several kinds in turn."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.bench.live_run import measure_live
from edge_app.bench.loops import hog_loop, inference_alone, plain_loop, tutorial_loop
from edge_app.bench.simulated import simulate
from edge_app.bench.stages import measure_stages
from edge_app.config import SAMPLE, Config
from edge_app.detector import Detector, load_detector
from edge_app.errors import UserError
from edge_app.pipeline import camera_for
from edge_app.source import VideoFile
from edge_app.tiles.tiled_detector import with_tiles

SAMPLE_CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
# Published times of one and the same model (MobileNet v2 SSD) on a desktop's processor and on the Dev Board's four A53,
# milliseconds, coral.ai/docs/edgetpu/benchmarks. Vectorised code; an interpreter loses more on a small in-order core.
_PUBLISHED_DESKTOP_MS, _PUBLISHED_A53_MS = 106.0, 282.0
_INTERPRETED_FACTOR = 6.0
_A53_CORES = 4
_OVERLOAD = 2.0
_HOG_FRAMES = 30


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        config: model, calibration and thresholds.
        video: played in place of a camera.
        rounds: interleaved repetitions.
        frames: in each run.
        simulate_ms: wait so long in place of each inference; None runs the model.
        viewer: somebody watches the live picture meanwhile.
        compare: measure also what people would otherwise run.
    """

    config: Config
    video: Path = SAMPLE_CLIP
    rounds: int = 3
    frames: int = 300
    simulate_ms: Optional[float] = None
    viewer: bool = False
    compare: bool = False


def run_bench(options: BenchOptions) -> dict[str, Any]:
    """Measure stages one after the other, then whole runs in turn.

    All kinds of run do the same frames. They are interleaved, so that a busy machine slows all alike: read the ratios.
    ``inference`` is the model alone, with all of its threads for each inference; ``inference_side_by_side`` as
    recordings are worked off, with one thread for each of several at once. ``plain_loop`` reads, detects, tracks and
    measures one after the other; ``live`` is the product with every frame, its stages overlapped, in a process of its
    own; ``analyze`` writes all result files too, and includes its start. There are tiles only where the configuration
    asks for them by name: by default their number depends on the time there is, and runs would not do the same work.

    Raises:
        UserError: the model or the video cannot be used.
    """
    options = replace(options, config=_without_unasked_tiles(options.config))
    source = VideoFile(options.video, fps=options.config.source.fps)
    size, stated_fps = (source.width, source.height), source.fps
    source.close()
    detector = _detector(options, size)
    result: dict[str, Any] = {
        "video": f"{options.video.name}, {size[0]}x{size[1]}",
        "model": detector.name,
        "machine": {"cpus": os.cpu_count(), "architecture": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "stages_ms": measure_stages(options.config, detector, options.video, options.frames),
        "rounds": options.rounds,
        "frames": options.frames,
        **_rounds(options, detector),
    }
    result["delay"] = _delays(options, result["live"], stated_fps)
    if options.simulate_ms is not None:
        result["a53"] = _a53(result["live"]["cpu_ms_per_frame"])
    return result


def _without_unasked_tiles(config: Config) -> Config:
    if config.tiles.mode in ("auto", "on"):
        return config
    return config.model_copy(update={"tiles": config.tiles.model_copy(update={"mode": "off"})})


def _detector(options: BenchOptions, size: tuple[int, int]) -> Detector:
    detector: Detector = load_detector(options.config.model)
    if options.simulate_ms is not None:
        if options.config.tiles.mode in ("auto", "on"):
            raise UserError("a simulated inference has no tiles; set tiles.mode to off or leave the simulation out")
        return simulate(detector, options.config, options.video, options.simulate_ms)
    return with_tiles(detector, options.config.tiles, camera_for(options.config, size), in_real_time=False)


def _rounds(options: BenchOptions, detector: Detector) -> dict[str, Any]:
    live_runs: list[dict[str, Any]] = []

    def live() -> float:
        run = measure_live(
            options.config,
            options.video,
            options.frames,
            "fast",
            simulate_ms=options.simulate_ms,
            viewer=options.viewer,
        )
        live_runs.append(run)
        return float(run["fps"])

    kinds: dict[str, Callable[[], float]] = {
        "inference": lambda: inference_alone(detector, options.video, options.frames),
        "plain_loop": lambda: plain_loop(options.config, detector, options.video, options.frames),
        "live": live,
    }
    if options.simulate_ms is None:
        aside = load_detector(options.config.model, side_by_side=True)
        kinds["inference_side_by_side"] = lambda: inference_alone(aside, options.video, options.frames)
        kinds["analyze"] = lambda: _analyze_rate(options)
    if options.compare:
        kinds["tutorial_loop"] = lambda: tutorial_loop(detector, options.video, options.frames)
        kinds["opencv_hog"] = lambda: hog_loop(options.video, min(options.frames, _HOG_FRAMES))
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(options.rounds):
        for name, kind in kinds.items():
            rates[name].append(kind())
    against = {
        name: round(statistics.median(live / other for live, other in zip(rates["live"], values)), 3)
        for name, values in rates.items()
        if name != "live"
    }
    typical = sorted(live_runs, key=lambda run: run["fps"])[len(live_runs) // 2]
    return {
        "frames_per_s": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "live_to": against,
        "live": typical,
    }


def _delays(options: BenchOptions, live: dict[str, Any], stated_fps: float) -> dict[str, Any]:
    """Measure the delay at the video's own rate, and with twice as many frames as can be done."""
    found = {}
    overload_fps = min(1000.0, _OVERLOAD * 1000.0 * live["at_once"] / live["inference_ms"])
    for name, fps in (("realtime", stated_fps), ("overload", overload_fps)):
        # Some seconds at the stated rate are enough, and hours at one frame a second would not be.
        frames = int(min(options.frames, max(30.0, 15.0 * fps)))
        run = measure_live(
            options.config,
            options.video,
            frames,
            name,  # type: ignore[arg-type]
            simulate_ms=options.simulate_ms,
            viewer=options.viewer,
            fps=fps,
        )
        limit_ms = 1.5 * run["inference_ms"] + 1000.0 / fps
        found[name] = {
            "source_fps": round(fps, 1),
            "delay_ms": {key: round(value, 1) for key, value in run["delay_ms"].items()},
            "limit_ms": round(limit_ms, 1),
            "dropped": run["dropped"],
            "frames": run["frames"],
        }
    return found


def _a53(cpu_ms: float) -> dict[str, float]:
    """Estimate what the host's share of a frame takes on a Coral Dev Board."""
    vectorised = _PUBLISHED_A53_MS / _PUBLISHED_DESKTOP_MS
    return {
        "host_cpu_ms_here": round(cpu_ms, 2),
        "factor_low": round(vectorised, 2),
        "factor_high": _INTERPRETED_FACTOR,
        "cpu_ms_low": round(cpu_ms * vectorised, 1),
        "cpu_ms_high": round(cpu_ms * _INTERPRETED_FACTOR, 1),
        "frames_per_s_of_four_cores_high": round(1000.0 * _A53_CORES / (cpu_ms * vectorised), 0),
        "frames_per_s_of_one_core_low": round(1000.0 / (cpu_ms * _INTERPRETED_FACTOR), 0),
    }


def _analyze_rate(options: BenchOptions) -> float:
    with tempfile.TemporaryDirectory() as folder:
        since_s = time.perf_counter()
        summary = analyze(AnalysisOptions(options.video, Path(folder) / "out", options.config, progress=False))
        return float(summary["frames_analysed"] / (time.perf_counter() - since_s))

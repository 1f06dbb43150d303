"""The benchmark's results as a table for people."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "inference": "inference alone",
    "inference_side_by_side": "inference alone, side by side",
    "plain_loop": "plain loop: read, detect, track, measure",
    "live": "live pipeline, every frame",
    "analyze": "analyze, with its start and all files",
    "tutorial_loop": "tutorial's loop: read, resize, invoke, draw, encode",
    "opencv_hog": "OpenCV's HOG people detector: read, detect",
}


def format_bench(result: dict[str, Any]) -> str:
    """Return the table."""
    machine = result["machine"]
    cpus = f"{machine['cpus']} CPUs ({machine['architecture']}), load {machine['load']}"
    lines = [
        f"{result['video']}; {result['model']}; {cpus}",
        "",
        f"{'stage':<28}{'median ms':>10}{'p95 ms':>10}",
    ]
    lines += [f"{name:<28}{row['median']:>10.2f}{row['p95']:>10.2f}" for name, row in result["stages_ms"].items()]
    lines += ["", f"runs of {result['frames']} frames, median of {result['rounds']} interleaved rounds"]
    lines.append(f"{'':<52}{'frames/s':>10}{'live is':>10}")
    for name, rate in result["frames_per_s"].items():
        ratio = f"{result['live_to'][name]:>9.2f}x" if name in result["live_to"] else ""
        lines.append(f"{_NAMES[name]:<52}{rate:>10.1f}{ratio}")
    live = result["live"]
    lines += [
        "",
        f"start to first result {live['start_to_first_result_s']:.2f} s, {live['start_cpu_s']:.2f} s of processor time",
        f"peak memory {live['peak_memory_mb']:.0f} MB, processor time {live['cpu_ms_per_frame']:.2f} ms a frame",
        *_delay_lines(result["delay"]),
    ]
    if "a53" in result:
        lines += _a53_lines(result["a53"])
    return "\n".join(lines)


def _delay_lines(delays: dict[str, Any]) -> list[str]:
    return [
        f"delay, {name} ({row['source_fps']:g} frames/s): median {row['delay_ms']['median']:.1f} ms, "
        f"p95 {row['delay_ms']['p95']:.1f} ms, most {row['delay_ms']['max']:.1f} ms; 1.5 inferences and one frame are "
        f"{row['limit_ms']:.1f} ms; {row['dropped']} frames dropped, {row['frames']} analysed"
        for name, row in delays.items()
    ]


def _a53_lines(row: dict[str, float]) -> list[str]:
    return [
        "",
        f"estimate for four Cortex-A53 (not measured): {row['cpu_ms_low']:.0f} to {row['cpu_ms_high']:.0f} ms of one "
        f"core a frame; {row['frames_per_s_of_one_core_low']:.0f} frames/s if one core did all at the slower end, "
        f"{row['frames_per_s_of_four_cores_high']:.0f} if four shared it at the faster one",
        f"  basis: {row['host_cpu_ms_here']:.2f} ms of processor time a frame here, times {row['factor_low']:.2f} "
        "(published times of one model on a desktop's processor and on the Dev Board's, 106 and 282 ms) to "
        f"{row['factor_high']:.0f} (interpreted code loses more on a small in-order core; our assumption)",
    ]

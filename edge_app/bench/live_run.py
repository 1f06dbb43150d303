"""One run of the live pipeline in a process of its own, so that start-up time and memory are its own.

python -m edge_app.bench.live_run SPAWNED_S OPTIONS_JSON
"""

from __future__ import annotations

from edge_app.command_line import set_up_libraries

set_up_libraries()  # before numpy and cv2 are imported

import json  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Literal, Optional  # noqa: E402

import numpy as np  # noqa: E402

from edge_app.config import Config, MetricsConfig  # noqa: E402
from edge_app.records import FrameResult, ViolationEvent  # noqa: E402
from edge_app.sinks import StatusNotice  # noqa: E402

LiveMode = Literal["fast", "realtime", "overload"]

# Frames before the measurement begins: caches fill, the tracker confirms people.
_WARM_UP_FRAMES = 30
_LONGEST_S = 300.0


def measure_live(
    config: Config,
    video: Path,
    frames: int,
    mode: LiveMode,
    *,
    simulate_ms: Optional[float] = None,
    viewer: bool = False,
    fps: Optional[float] = None,
) -> dict[str, Any]:
    """Run the live pipeline in a child process.

    Args:
        config: as for ``run``.
        video: played in place of a camera.
        frames: to measure, after a warm-up.
        mode: ``fast``: every frame, as fast as possible; ``realtime``: at the video's rate; ``overload``: at ``fps``,
            more than can be done.
        simulate_ms: wait so long in place of the inference.
        viewer: somebody watches the live picture meanwhile.
        fps: the video's true rate; for ``overload`` the rate to play it at.
    """
    options = {
        "config": config.model_dump(mode="json"),
        "video": str(video),
        "frames": frames,
        "mode": mode,
        "simulate_ms": simulate_ms,
        "viewer": viewer,
        "fps": fps,
    }
    command = [sys.executable, "-m", "edge_app.bench.live_run", repr(time.monotonic()), json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the live pipeline ended with status {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class _Results:
    """Notes when results come."""

    def __init__(self, wanted: int) -> None:
        self.enough = threading.Event()
        self.times_s: list[float] = []
        self.cpu_s: list[float] = []
        self.delays_s: list[float] = []
        self._wanted = wanted

    def accept(self, _camera: str, utc_s: float, _result: FrameResult) -> None:
        self.times_s.append(time.monotonic())
        self.cpu_s.append(time.process_time())
        self.delays_s.append(time.time() - utc_s)
        if len(self.times_s) >= self._wanted:
            self.enough.set()

    def end(self, _camera: str, _events: tuple[ViolationEvent, ...]) -> None:
        """Frames alone count here."""

    def use_places(self, _camera: str, _metrics: MetricsConfig) -> None:
        """Nothing is counted by place here."""

    def notice(self, notice: StatusNotice) -> None:
        if notice.kind == "source" and not notice.ok:
            self.enough.set()


def _run(spawned_s: float, options: dict[str, Any]) -> dict[str, Any]:
    from edge_app.accelerator.open_detector import open_detector  # noqa: PLC0415 - belongs to the start-up time
    from edge_app.bench.simulated import simulate  # noqa: PLC0415
    from edge_app.detector import at_once  # noqa: PLC0415
    from edge_app.live.run import LiveSystem  # noqa: PLC0415

    config = Config.model_validate(options["config"])
    source = config.source.model_copy(
        update={
            "uri": options["video"],
            "loop": True,
            "pace": "fast" if options["mode"] == "fast" else "realtime",
            "fps": options["fps"] or config.source.fps,
        }
    )
    gate = config.motion_gate.model_copy(update={"enabled": False})
    config = config.model_copy(update={"source": source, "motion_gate": gate, "cameras": {}})
    detector = None
    recording_s = recording_cpu_s = 0.0
    if options["simulate_ms"] is not None:
        detector = open_detector(config.model)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        detector = simulate(detector, config, Path(options["video"]), options["simulate_ms"])
        # What an accelerator would not need is no part of the start.
        recording_s, recording_cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    results = _Results(_WARM_UP_FRAMES + options["frames"])
    system = LiveSystem(config, [results], detector)
    if options["viewer"]:
        _watch(system, config)
    system.start()
    results.enough.wait(_LONGEST_S)
    runner = next(iter(system.runners.values()))
    stages = runner.times.summary_ms()
    busy_s, inferences = system.inference.busy_s, system.inference.inferences
    system.stop()
    kept = slice(_WARM_UP_FRAMES, None)
    times_s, cpu_s, delays_s = results.times_s[kept], results.cpu_s[kept], results.delays_s[kept]
    if len(times_s) < 2:
        raise RuntimeError("too few results came")
    return {
        "frames": len(times_s),
        "fps": (len(times_s) - 1) / (times_s[-1] - times_s[0]),
        "delay_ms": {
            "median": 1000 * float(np.median(delays_s)),
            "p95": 1000 * float(np.percentile(delays_s, 95)),
            "max": 1000 * max(delays_s),
        },
        "dropped": runner.dropped,
        "cpu_ms_per_frame": 1000 * (cpu_s[-1] - cpu_s[0]) / (len(times_s) - 1),
        "at_once": at_once(system.detector),
        "inference_ms": 1000 * busy_s / max(1, inferences),
        "stages_ms": stages,
        "start_to_first_result_s": results.times_s[0] - spawned_s - recording_s,
        # What the start would take if nothing else ran: it is one thread's work for nearly all of it.
        "start_cpu_s": results.cpu_s[0] - recording_cpu_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def _watch(system: Any, config: Config) -> None:
    from edge_app.render import BirdsEye  # noqa: PLC0415
    from edge_app.web.picture import LivePicture  # noqa: PLC0415

    name, runner = next(iter(system.runners.items()))
    camera = system.pipelines[name].camera
    birdseye = BirdsEye(camera, (camera.image_width, camera.image_height)) if camera is not None else None
    picture = LivePicture(runner.state, birdseye, config.privacy.people, config.dashboard.max_fps)

    def look() -> None:
        for _ in picture.stream(threading.Event()):
            pass

    threading.Thread(target=look, name="viewer", daemon=True).start()


if __name__ == "__main__":
    print(json.dumps(_run(float(sys.argv[1]), json.loads(sys.argv[2]))))

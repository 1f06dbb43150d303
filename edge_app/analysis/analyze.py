"""Offline analysis: a video in, tracks, pairs, events, summary, report and pictures out. Resumable, all or nothing."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge_app.analysis.checkpoint import (
    fingerprint,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    video_fingerprint,
)
from edge_app.analysis.one_at_a_time import one_at_a_time
from edge_app.analysis.pictures import Pictures
from edge_app.analysis.result_files import FILE_NAMES, ResultFiles, can_go_on
from edge_app.analysis.stages import Detected, StageTimes, infer, prepare
from edge_app.analysis.summary import Totals, versions
from edge_app.config import Config
from edge_app.errors import UserError
from edge_app.hindsight import Recording
from edge_app.manifest import sha256_of
from edge_app.named_arrays import named, prefixed
from edge_app.overlapped import Overlapped
from edge_app.pipeline import Pipeline
from edge_app.records import FrameResult
from edge_app.report import ReportCollector
from edge_app.source import VideoFile

_PARTIAL = ".unfinished"
_LOCK = "lock"
# Beside the results of `analyze-many`: what they were made from, so that they are not made again.
KEY_FILE = ".analysis-key"
_CHECKPOINT_INTERVAL_S = 5.0


class _Incomplete(UserError):
    """The video ends too early; what was done of it is of use if that is accepted."""


class Interrupted(Exception):
    """The analysis was told to stop; it can go on later from its checkpoint."""


@dataclass(frozen=True)
class AnalysisOptions:
    """What to analyse and how.

    Attributes:
        video: the file.
        out: folder for the results; made if missing.
        config: the configuration.
        annotate: write annotated.mp4 too; such a run starts over when it was interrupted.
        every: analyse every n-th frame.
        allow_truncated: accept a video that ends before its container says.
        progress: show a progress bar on standard error.
    """

    video: Path
    out: Path
    config: Config
    annotate: bool = False
    every: int = 1
    allow_truncated: bool = False
    progress: bool = True


def analyze(options: AnalysisOptions) -> dict[str, Any]:
    """Analyse a recorded video and write the results.

    Results appear in the output folder only when all of them are complete; until then they lie in a hidden folder
    inside it, from where an interrupted analysis goes on.

    Returns:
        The summary, as written to ``summary.json``.

    Raises:
        UserError: bad input; nothing half-written is left behind, but after a full disk or a video that ends too early
            the checkpoint is kept, as the same command may go on.
        Interrupted: SIGINT or SIGTERM came; run the same command again to go on.
    """
    config = options.config
    source = _open(options)
    try:
        pipeline = Pipeline.from_config(config, (source.width, source.height))
        partial, made = _make_folders(options.out)
        with one_at_a_time(partial / _LOCK, options.out):
            return _run(options, source, pipeline, partial, made)
    finally:
        source.close()


def _run(
    options: AnalysisOptions, source: VideoFile, pipeline: Pipeline, partial: Path, made: list[Path]
) -> dict[str, Any]:
    try:
        return _Analysis(options, source, pipeline, partial).run()
    except (UserError, OSError) as error:
        if not (isinstance(error, (OSError, _Incomplete)) and has_checkpoint(partial)):
            _remove_unfinished(partial, made)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise UserError(
                f"results cannot be written to {options.out} ({reason}); free space or give another --out"
            ) from error
        raise


class _Analysis:
    """One run over one video."""

    def __init__(self, options: AnalysisOptions, source: VideoFile, pipeline: Pipeline, partial: Path) -> None:
        self._options = options
        self._source = source
        self._pipeline = pipeline
        self._partial = partial
        self._fingerprints = _fingerprints(options, pipeline)
        self._key = fingerprint(
            {
                "video": self._fingerprints["video"],
                "model": self._fingerprints["model"],
                "calibration": self._fingerprints["calibration"],
                "config": options.config.model_dump(mode="json"),
                "every": options.every,
                "versions": versions(),
            }
        )
        self._times = StageTimes()
        self._totals = Totals()
        self._elapsed_before_s = 0.0
        self._started = time.perf_counter()
        self._recording = Recording(pipeline, options.config)
        self._report = ReportCollector(
            threshold_m=options.config.distance.threshold_m,
            camera=pipeline.camera,
            image_size=(source.width, source.height),
        )
        self._pictures = Pictures(
            partial, pipeline.camera, options.config, _open(options), options.every, options.annotate
        )
        self._files = self._open_files()

    def run(self) -> dict[str, Any]:
        resumed_at = self._source.decoded
        with ExitStack() as stack:
            stack.callback(self._files.close)
            stop = stack.enter_context(_stop_signals())
            pictures = stack.enter_context(self._pictures)
            bar = stack.enter_context(self._progress_bar(resumed_at))
            prepared = Overlapped(
                prepare(self._source, self._pipeline.detector, self._options.every, self._times), "decode"
            )
            detected = Overlapped(infer(prepared, self._pipeline.detector, self._times), "inference")
            # The later stage is left first, or it would wait for items that never come.
            stack.enter_context(prepared)
            stack.enter_context(detected)
            self._consume(detected, pictures, bar, stop)
            results, events = self._recording.finish()
            self._take(results, pictures)
            self._check_complete()
            self._files.write_events(events)
            self._totals.add_events(events)
            self._report.add_events(events)
        return self._publish()

    def _consume(self, items: Overlapped[Detected], pictures: Pictures, bar: Any, stop: threading.Event) -> None:
        saved = time.perf_counter()
        for item in items:
            frame = item.frame
            since = time.perf_counter()
            self._pipeline.watch(frame)
            results = self._recording.add(frame.index, frame.time_s, item.detections)
            self._times.add("track_and_measure", since)
            self._take(results, pictures)
            bar.update(frame.index + 1 - bar.n)
            if stop.is_set() or time.perf_counter() - saved > _CHECKPOINT_INTERVAL_S:
                self._checkpoint()
                saved = time.perf_counter()
            if stop.is_set():
                raise Interrupted(self._how_to_go_on(frame.index))

    def _take(self, results: list[FrameResult], pictures: Pictures) -> None:
        """Put results where they belong."""
        for result in results:
            since = time.perf_counter()
            self._files.write(result)
            self._totals.add(result)
            self._report.add(result)
            since = self._times.add("write", since)
            pictures.add(result)
            self._times.add("pictures", since)

    def _how_to_go_on(self, index: int) -> str:
        if self._options.annotate:
            return "interrupted; the same command starts over, since it writes an annotated video"
        if self._recording.next_frame == 0:
            return f"interrupted after frame {index + 1}; the same command starts over"
        # What comes after a moment says what it was: the newest frames are looked at again.
        goes_on = self._recording.next_frame + 1
        return f"interrupted after frame {index + 1}; the same command goes on from frame {goes_on}"

    def _open_files(self) -> ResultFiles:
        """Go on from a checkpoint that fits, else start anew."""
        stored = None if self._options.annotate else load_checkpoint(self._partial, self._key)
        if stored is None or not can_go_on(self._partial, stored[0]["offsets"]):
            for path in self._partial.iterdir():
                if path.name != _LOCK:
                    path.unlink()
            return ResultFiles(self._partial)
        values, arrays = stored
        tracker, hindsight, report = (named(prefix, arrays) for prefix in ("tracker", "hindsight", "report"))
        recording = {**values["recording"], "tracker": tracker, "hindsight": hindsight}
        self._recording.restore(recording, values["next_frame"])
        self._report.restore({**report, **values["report"]})
        self._totals = Totals.restored(values["totals"])
        self._times.seconds = values["times"]
        self._elapsed_before_s = values["elapsed_s"]
        self._pictures.restore(values["pictures"])
        self._source.skip(values["next_frame"])
        return ResultFiles(self._partial, values["offsets"])

    def _checkpoint(self) -> None:
        state = None if self._options.annotate else self._recording.state()
        if state is None:
            return
        report = self._report.state()
        report_arrays = {name: value for name, value in report.items() if hasattr(value, "dtype")}
        tracker, hindsight = state.pop("tracker"), state.pop("hindsight")
        values = {
            "next_frame": self._recording.next_frame,
            "offsets": self._files.offsets(),
            "recording": state,
            "report": {name: value for name, value in report.items() if name not in report_arrays},
            "totals": self._totals.state(),
            "times": dict(self._times.seconds),
            "elapsed_s": self._elapsed_s(),
            "pictures": self._pictures.state(),
        }
        arrays = {
            **prefixed("tracker", tracker),
            **prefixed("hindsight", hindsight),
            **prefixed("report", report_arrays),
        }
        save_checkpoint(self._partial, self._key, values, arrays)

    def _check_complete(self) -> None:
        decoded, promised = self._source.decoded, self._source.frame_count
        if self._totals.frames == 0:
            raise UserError(f"no frame of {self._options.video} can be decoded; record or copy it again")
        if self._source.truncated and not self._options.allow_truncated:
            raise _Incomplete(
                f"video {self._options.video} is truncated: {decoded} of {promised} frames can be decoded; copy it "
                "again, or analyse what is there with --allow-truncated"
            )

    def _publish(self) -> dict[str, Any]:
        """Complete the results and move them into place, the summary last."""
        summary = self._summary()
        (self._partial / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        self._report.write(self._partial / "report.html", summary, self._pictures.worst_jpeg)
        # Whatever stops this halfway, mixed results are taken for nobody's.
        (self._options.out / KEY_FILE).unlink(missing_ok=True)
        names = [*FILE_NAMES, *self._pictures.file_names, "report.html", "summary.json"]
        for name in names:
            (self._partial / name).replace(self._options.out / name)
        shutil.rmtree(self._partial)
        return summary

    def _summary(self) -> dict[str, Any]:
        source, pipeline, totals = self._source, self._pipeline, self._totals
        elapsed_s = self._elapsed_s()
        camera = pipeline.camera
        threshold_m = self._options.config.distance.threshold_m
        violations = totals.violations(threshold_m, pipeline.events_dropped_short) if camera else None
        return {
            "video": source.name,
            "frames": source.decoded,
            "frames_analysed": totals.frames,
            "truncated": source.truncated,
            "fps": source.fps,
            "duration_s": round(source.duration_s, 3),
            "width": source.width,
            "height": source.height,
            "calibrated": camera is not None,
            "camera_moved_s": round(pipeline.moved_s, 3),
            "people": totals.people(self._recording.people_seen),
            "boxes_dropped_impossible_height": pipeline.dropped_impossible,
            "boxes_dropped_duplicates": pipeline.dropped_duplicates,
            "still_things": pipeline.still_things.found if pipeline.still_things is not None else None,
            "violations": violations,
            "metrics": pipeline.metrics.summary() if pipeline.metrics else None,
            "timings": {
                "elapsed_s": round(elapsed_s, 3),
                "frames_per_s": round(totals.frames / elapsed_s, 2),
                "stage_ms_per_frame": {
                    stage: round(1000 * seconds / totals.frames, 3) for stage, seconds in self._times.seconds.items()
                },
            },
            "model": pipeline.model_name,
            "runtime": pipeline.runtime,
            "fingerprints": self._fingerprints,
            "versions": versions(),
            "people_in_pictures": self._options.config.privacy.people,
            "annotated_codec": self._pictures.codec,
        }

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.perf_counter() - self._started

    def _progress_bar(self, resumed_at: int) -> Any:
        return tqdm(
            total=self._source.frame_count,
            initial=resumed_at,
            unit="frame",
            desc=self._source.name,
            disable=None if self._options.progress else True,
        )


def _open(options: AnalysisOptions) -> VideoFile:
    return VideoFile(options.video, fps=options.config.source.fps)


def _fingerprints(options: AnalysisOptions, pipeline: Pipeline) -> dict[str, Any]:
    calibration = options.config.calibration
    return {
        "video": video_fingerprint(options.video),
        "model": sha256_of(pipeline.model_path),
        "calibration": sha256_of(calibration) if calibration and pipeline.camera else None,
    }


def _make_folders(out: Path) -> tuple[Path, list[Path]]:
    """Make the output folder and the folder for unfinished results; return the latter and what was made new."""
    partial = out / _PARTIAL
    made = [folder for folder in (*reversed(partial.parents), partial) if not folder.exists()]
    try:
        partial.mkdir(parents=True, exist_ok=True)
        probe = partial / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"output folder {out} cannot be written ({error.strerror}); give a writable folder with --out"
        ) from error
    return partial, made


def _remove_unfinished(partial: Path, made: list[Path]) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    for folder in reversed(made):
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event, so that a run stops between two frames."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, previous):
            signal.signal(number, handler)

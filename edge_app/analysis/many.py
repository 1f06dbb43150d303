"""Analysis of many videos on several processes or machines with Dask: resumable, and a bad video stops no other.

Each video is analysed by the very function that ``analyze`` is, into a folder of its own.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import multiprocessing
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Optional

from tqdm import tqdm

from edge_app.analysis.analyze import KEY_FILE, AnalysisOptions, analyze
from edge_app.analysis.checkpoint import fingerprint, video_fingerprint
from edge_app.analysis.one_at_a_time import one_at_a_time
from edge_app.analysis.summary import versions
from edge_app.errors import UserError
from edge_app.manifest import sha256_of

log = logging.getLogger(__name__)

VIDEO_ENDINGS = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".ts", ".mpg", ".mpeg", ".webm", ".wmv", ".flv"})
_LOCK = ".analyze-many.lock"
_CONNECT_S = 10.0
_COLUMNS = ("video", "state", "frames_analysed", "people", "events", "exposure_s", "reason")


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        video: its path.
        state: ``done``, ``there`` (its results were there already) or ``failed``.
        reason: why it failed; one sentence.
        summary: as in ``summary.json``; None where it failed.
    """

    video: str
    state: str
    reason: str = ""
    summary: Optional[dict[str, Any]] = None


Work = Callable[[AnalysisOptions], Outcome]


def find_videos(where: Path, out: Optional[Path] = None) -> list[tuple[Path, Path]]:
    """Return every video with the folder, relative to the output folder, that its results go into.

    A video that several names or links lead to is returned once. It keeps its folder as long as it lies in ``where``
    under the same name, or else as long as the same link to it sorts first, or as the list stays the same.

    Args:
        where: a folder, which is searched with all folders in it but hidden ones, or a text file with a path in each
            line.
        out: the output folder; should it lie inside, the annotated videos in it are not meant.

    Raises:
        UserError: there is nothing there, or a line names no file.
    """
    if where.is_dir():
        if out is not None and out.resolve() == where.resolve():
            raise UserError(
                f"results cannot go into {out} itself, where the videos are; give a folder in it with --out"
            )
        videos = sorted(path for path in where.rglob("*") if _is_video(path, where, out))
        if not videos:
            raise UserError(f"no video lies in {where}; known endings are {', '.join(sorted(VIDEO_ENDINGS))}")
        # A file that lies here under its own name keeps it, whatever the links to it are called.
        own_first = sorted(videos, key=lambda path: path.resolve() != where.resolve() / path.relative_to(where))
        return sorted((path, path.relative_to(where)) for path in _each_once(own_first).values())
    videos = list(_each_once(_listed(where)))
    shared = Path(*_common_parts([path.parent for path in videos]))
    return [(path, path.relative_to(shared)) for path in videos]


def analyze_one(options: AnalysisOptions) -> Outcome:
    """Analyse a video unless its results are there already; runs in a worker. Whatever goes wrong is the outcome."""
    video = str(options.video)
    try:
        key = _key(options)
        there = _results_there(options.out, key)
        if there is not None:
            return Outcome(video, "there", summary=there)
        summary = analyze(options)
        (options.out / KEY_FILE).write_text(key, encoding="ascii")
        return Outcome(video, "done", summary=summary)
    except UserError as error:
        return Outcome(video, "failed", str(error))
    except Exception as error:
        log.exception("the analysis of %s failed", video)
        return Outcome(video, "failed", f"{type(error).__name__}: {error}; this is a fault of the program, see the log")


def analyze_many(
    template: AnalysisOptions,
    videos: list[tuple[Path, Path]],
    workers: Optional[int] = None,
    scheduler: Optional[str] = None,
    work: Work = analyze_one,
) -> list[Outcome]:
    """Analyse videos and write ``overview.csv`` and ``overview.json`` into the output folder.

    Args:
        template: options of each analysis; its ``video`` is not used, its ``out`` is the folder above all results.
        videos: from ``find_videos``.
        workers: processes on this machine; None for as many as there are cores.
        scheduler: address of a running Dask scheduler instead; its workers must see the same paths.
        work: what is done with each video.

    Returns:
        An outcome for each video, in the order given.

    Raises:
        UserError: Dask is missing, the scheduler does not answer, or the output folder cannot be written, or is
            written by another call now.
    """
    try:
        template.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output folder {template.out} cannot be made ({error.strerror}); give another --out"
        ) from error
    jobs = [
        replace(template, video=video.resolve(), out=template.out.resolve() / folder, progress=False)
        for video, folder in videos
    ]
    outcomes: dict[int, Outcome] = {}
    with one_at_a_time(template.out / _LOCK, template.out), _connected(workers, scheduler) as client:
        try:
            with tqdm(total=len(jobs), unit="video", disable=None if template.progress else True) as bar:
                for number, outcome in _run(client, jobs, work):
                    outcomes[number] = outcome
                    bar.update()
        finally:
            done = [outcomes[number] for number in sorted(outcomes)]
            _write_overview(template.out, done)
    return done


def _run(client: Any, jobs: list[AnalysisOptions], work: Work) -> Iterator[tuple[int, Outcome]]:
    """Yield each job's number and outcome as they come."""
    from distributed import as_completed  # noqa: PLC0415 - an extra

    # Results of an earlier run lie in files, not in the cluster, so nothing is taken from its memory (pure=False).
    futures = client.map(_in_worker, jobs, work=work, pure=False)
    numbers = {future.key: number for number, future in enumerate(futures)}
    died: list[int] = []
    for future in as_completed(futures):
        number = numbers[future.key]
        outcome = _outcome(future, jobs[number])
        if outcome is None:
            died.append(number)
        else:
            yield number, outcome
        future.release()
    # A worker that dies takes along whatever else it had been given; alone, each video shows whether it was the cause.
    for number in sorted(died):
        future = client.submit(_in_worker, jobs[number], work, pure=False)
        reason = "the worker died; the video may be broken, or memory too small"
        yield number, _outcome(future, jobs[number]) or Outcome(str(jobs[number].video), "failed", reason)


def _outcome(future: Any, job: AnalysisOptions) -> Optional[Outcome]:
    """Wait for an outcome; None where the process died: a decoder crashed, or memory ran out."""
    from distributed import KilledWorker  # noqa: PLC0415 - an extra

    try:
        result: Outcome = future.result()
    except KilledWorker:
        return None
    except Exception as error:
        log.exception("the analysis of %s failed", job.video)
        return Outcome(str(job.video), "failed", f"{type(error).__name__}: {error}")
    return result


@contextmanager
def _connected(workers: Optional[int], scheduler: Optional[str]) -> Iterator[Any]:
    try:
        import dask  # noqa: PLC0415 - an extra
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "many videos at once need Dask; in this application's folder: pip install -e '.[scale]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Who was on a worker that died is tried once more with the others, then alone.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        if scheduler is None:
            with ExitStack() as stack:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-app-many-"))
                own = {"temporary-directory": scratch, "distributed.scheduler.http.routes": []}
                stack.enter_context(dask.config.set(own))
                with _interrupts_kept_from_workers():
                    cluster = LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address=None,
                        host="127.0.0.1",
                        # Its web server cannot be left out; this one has no pages, and any port.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    )
                    stack.enter_context(cluster)
                client = stack.enter_context(Client(cluster))
                try:
                    yield client
                except KeyboardInterrupt:
                    _end_workers()
                    raise
            return
        try:
            client = Client(scheduler, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise UserError(f"the Dask scheduler {scheduler} does not answer ({error}); check --scheduler") from error
        with client:
            yield client


@contextmanager
def _interrupts_kept_from_workers() -> Iterator[None]:
    """Start workers here: Ctrl-C goes to every process of a terminal, but theirs is to be ended by this one.

    Threads inherit what is blocked, and so do the processes that they start, now and in place of dead ones.
    """
    resource_tracker.ensure_running()  # it would lift the block when it starts
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _end_workers() -> None:
    """End workers in the middle of their videos: no result is worth waiting for, nor what Dask says of their end."""
    for name in ("distributed", "distributed.client", "distributed.nanny"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for process in multiprocessing.active_children():
        process.kill()


def _in_worker(options: AnalysisOptions, work: Work) -> Outcome:
    # A lock between processes, which tqdm takes by itself, would outlive a worker that is killed.
    tqdm.set_lock(threading.RLock())
    return work(options)


def _is_video(path: Path, where: Path, out: Optional[Path]) -> bool:
    if path.suffix.lower() not in VIDEO_ENDINGS or not path.is_file():
        return False
    if any(part.startswith(".") for part in path.relative_to(where).parts):
        return False
    return out is None or out.resolve() not in path.resolve().parents


def _listed(where: Path) -> list[Path]:
    try:
        lines = where.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{where} does not exist; give a folder of videos, or a text file that lists them") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} is no list of videos ({error}); give a text file with a path in each line") from error
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        path = where.parent / text
        if not path.is_file():
            raise UserError(f"{where}, line {number}: {text} is no file; correct or remove it")
        found.append(path)
    if not found:
        raise UserError(f"{where} lists no video; write a path into each line")
    return found


def _each_once(paths: list[Path]) -> dict[Path, Path]:
    """Return the first path to each file, by what it resolves to."""
    first: dict[Path, Path] = {}
    for path in paths:
        known = first.setdefault(path.resolve(), path)
        if known is not path:
            log.info("%s is the video %s again; it is analysed once", path, known)
    return first


def _common_parts(parents: list[Path]) -> list[str]:
    shared = []
    for parts in zip(*(parent.parts for parent in parents)):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _key(options: AnalysisOptions) -> str:
    """Return a hash of all that the results depend on."""
    config = options.config
    try:
        return fingerprint(
            {
                "video": video_fingerprint(options.video),
                "model": sha256_of(config.model.path),
                "calibration": sha256_of(config.calibration) if config.calibration else None,
                "config": config.model_dump(mode="json", exclude={"storage", "alerts", "mqtt", "dashboard"}),
                "every": options.every,
                "annotate": options.annotate,
                "versions": versions(),
            }
        )
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); check the path") from error


def _results_there(out: Path, key: str) -> Optional[dict[str, Any]]:
    """Return the summary of results that were made from the same; None where there are none."""
    try:
        if (out / KEY_FILE).read_text(encoding="ascii") != key:
            return None
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary


def _write_overview(out: Path, outcomes: list[Outcome]) -> None:
    """Write what became of each video, in one step."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    for outcome in outcomes:
        summary = outcome.summary or {}
        violations = summary.get("violations") or {}
        people = summary.get("people") or {}
        writer.writerow(
            (
                outcome.video, outcome.state, summary.get("frames_analysed", ""), people.get("seen", ""),
                violations.get("events", ""), violations.get("exposure_s", ""), outcome.reason,
            )
        )  # fmt: skip
    _replace(out / "overview.csv", table.getvalue())
    rows = [{"video": o.video, "state": o.state, "reason": o.reason, "summary": o.summary} for o in outcomes]
    _replace(out / "overview.json", json.dumps(rows, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)

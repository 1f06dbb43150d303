from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.analysis.many import Outcome, analyze_many, analyze_one, find_videos
from edge_app.analysis.one_at_a_time import one_at_a_time
from edge_app.config import SAMPLE, load_config
from edge_app.errors import UserError
from tests.edge_app.waiting import wait_until

pytest.importorskip("distributed", reason="Dask is not installed (extra: scale)")

CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
CONFIG = Path(__file__).parents[2] / "config" / "demo.yaml"
EVERY = 20


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two good videos in two folders, one that is broken and one file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "yard").mkdir()
    shutil.copy(CLIP, folder / "door.mp4")
    shutil.copy(CLIP, folder / "yard" / "door.mp4")
    (folder / "broken.mp4").write_bytes(CLIP.read_bytes()[:5000])
    (folder / "notes.txt").write_text("no video")
    return folder


def template(out):
    return AnalysisOptions(Path(), out, load_config(CONFIG), every=EVERY, progress=False)


def die_on_the_yard(options):
    """Stands where the analysis would, and takes its process with it for one video."""
    if "yard" in str(options.video):
        os._exit(1)
    return Outcome(str(options.video), "done", summary={})


def without_times(summary):
    return {name: value for name, value in summary.items() if name != "timings"}


@pytest.mark.slow
def test_many_videos_give_what_single_runs_give_and_a_bad_one_stops_no_other(tmp_path, videos):
    done = subprocess.run(
        [sys.executable, "-m", "edge_app", "analyze-many", str(videos), "--out", str(tmp_path / "many"),
         "--config", str(CONFIG), "--every", str(EVERY), "--workers", "2", "--json"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout) == {"done": 2, "there": 0, "failed": 1}
    single = analyze(AnalysisOptions(CLIP, tmp_path / "single", load_config(CONFIG), every=EVERY, progress=False))
    for folder in ("door.mp4", "yard/door.mp4"):
        for name in ("tracks.txt", "pairs.csv", "events.csv"):
            made = (tmp_path / "many" / folder / name).read_bytes()
            assert made == (tmp_path / "single" / name).read_bytes()
            assert len(made) > 50
        summary = json.loads((tmp_path / "many" / folder / "summary.json").read_text())
        assert {**without_times(summary), "video": single["video"]} == json.loads(json.dumps(without_times(single)))
    rows = {Path(row["video"]).name: row for row in csv.DictReader((tmp_path / "many" / "overview.csv").open())}
    assert (rows["broken.mp4"]["state"], rows["door.mp4"]["frames_analysed"]) == (
        "failed",
        str(single["frames_analysed"]),
    )
    assert "can be decoded" in rows["broken.mp4"]["reason"]
    for video, folder in find_videos(videos):
        options = AnalysisOptions(video, tmp_path / "many" / folder, load_config(CONFIG), every=EVERY, progress=False)
        assert analyze_one(options).state == ("failed" if video.name == "broken.mp4" else "there")


def cut(video, target, first, count=90):
    """Copy some frames of a video."""
    source = cv2.VideoCapture(str(video))
    size = int(source.get(cv2.CAP_PROP_FRAME_WIDTH)), int(source.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), source.get(cv2.CAP_PROP_FPS), size)
    for number in range(first + count):
        there, image = source.read()
        assert there
        if number >= first:
            writer.write(image)
    writer.release()


def command(folder, out):
    return [sys.executable, "-m", "edge_app", "analyze-many", str(folder), "--out", str(out), "--config", str(CONFIG),
            "--workers", "1"]  # fmt: skip


def result_folders(out):
    """Where the complete results of each video lie, by its name, whatever the folder is called."""
    found = [path.parent for path in out.rglob("summary.json") if not is_hidden(path, out)]
    return {json.loads((folder / "summary.json").read_text())["video"]: folder for folder in found}


def is_hidden(path, below):
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def is_in_the_middle(out):
    """Whether a video is finished, and another one begun; its unfinished results lie in a hidden folder."""
    try:
        folders = set(result_folders(out).values())
        begun = [path for path in out.rglob("*") if is_hidden(path, out) and path.is_dir()]
    except FileNotFoundError:  # it went away meanwhile
        return False
    return bool(folders) and any(folders.isdisjoint(path.parents) for path in begun)


def files_of(folder):
    """What analyze wrote, without what depends on time or chance; its own notes are hidden."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
    files["report.html"] = re.sub(rb"Report made [0-9 :-]+ UTC", b"", files["report.html"])
    files["summary.json"] = json.dumps(without_times(json.loads(files["summary.json"]))).encode()
    return files


def stamps(folder):
    """What changes when a file is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def rows_of(out):
    return {Path(row["video"]).name: row for row in csv.DictReader((out / "overview.csv").open())}


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_with_what_is_not_finished_and_gives_what_single_runs_give(tmp_path):
    psutil = pytest.importorskip("psutil")
    folder, out = tmp_path / "videos", tmp_path / "many"
    folder.mkdir()
    names = [f"clip{number}.mp4" for number in range(4)]
    for number, name in enumerate(names):
        cut(CLIP, folder / name, first=15 * number)
    (folder / "a_broken.mp4").write_bytes(CLIP.read_bytes()[:5000])

    killed = subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers = []
    try:
        wait_until(lambda: is_in_the_middle(out), 120.0)
        workers = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        # Its workers end with it; else two runs would write the same results.
        assert psutil.wait_procs(workers, timeout=30.0)[1] == []
    finally:
        killed.kill()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    finished = {name: stamps(at) for name, at in result_folders(out).items()}
    assert 0 < len(finished) < len(names)

    second = subprocess.run([*command(folder, out), "--json"], capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 1, second.stderr
    assert json.loads(second.stdout) == {"done": len(names) - len(finished), "there": len(finished), "failed": 1}
    rows = rows_of(out)
    assert {name: row["state"] for name, row in rows.items()} == {
        "a_broken.mp4": "failed", **{name: "there" if name in finished else "done" for name in names},
    }  # fmt: skip
    assert "can be decoded" in rows["a_broken.mp4"]["reason"]
    folders = result_folders(out)
    assert sorted(folders) == names
    assert {name: stamps(folders[name]) for name in finished} == finished
    all_of_it = {name: stamps(at) for name, at in folders.items()}
    results = []
    for name in names:
        single = tmp_path / "single" / name
        analyze(AnalysisOptions(folder / name, single, load_config(CONFIG), progress=False))
        results.append(files_of(single))
        assert files_of(folders[name]) == results[-1], name
    assert len({files["tracks.txt"] for files in results}) == len(names)
    assert not [path for path in out.rglob("*") if path.is_dir() and is_hidden(path, out)]

    third = subprocess.run(command(folder, out), capture_output=True, text=True, timeout=300, check=False)
    assert third.returncode == 1
    assert "0 analysed, 4 were there already, 1 failed" in third.stdout
    assert f"failed: {folder / 'a_broken.mp4'}: " in third.stderr
    assert {name: stamps(at) for name, at in result_folders(out).items()} == all_of_it


@pytest.mark.slow
def test_an_interrupted_run_ends_at_once_without_inner_workings_and_leaves_no_scratch(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "scratch").mkdir()
    for name in "abcdef":
        cut(CLIP, tmp_path / "videos" / f"{name}.mp4", 0, 140)
    out = tmp_path / "out"
    running = subprocess.Popen(
        command(tmp_path / "videos", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
        # Tests that run in the background of a shell are begun with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    )  # fmt: skip
    wait_until(lambda: any(path.name == ".unfinished" for path in out.rglob("*")), 60.0)
    assert any((tmp_path / "scratch").iterdir())
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to all its processes
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 1
    assert errors.splitlines()[-1] == "interrupted; the same command goes on with what is not finished"
    assert not re.search("distributed|resource_tracker|Traceback|WARNING", errors)
    assert not any((tmp_path / "scratch").iterdir())


def test_a_video_that_kills_its_worker_fails_alone(tmp_path, videos):
    outcomes = analyze_many(template(tmp_path), find_videos(videos), workers=1, work=die_on_the_yard)
    assert {Path(o.video).parent.name if "yard" in o.video else Path(o.video).name: o.state for o in outcomes} == {
        "broken.mp4": "done", "door.mp4": "done", "yard": "failed",
    }  # fmt: skip
    assert "the worker died" in outcomes[-1].reason
    assert [row["state"] for row in json.loads((tmp_path / "overview.json").read_text())] == ["done", "done", "failed"]


def test_a_second_call_does_not_write_into_the_same_folder(tmp_path, videos):
    with (
        one_at_a_time(tmp_path / ".analyze-many.lock", tmp_path),
        pytest.raises(UserError, match="another analysis writes"),
    ):
        analyze_many(template(tmp_path), find_videos(videos), workers=1)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_analysed_anew(tmp_path, videos):
    options = AnalysisOptions(videos / "door.mp4", tmp_path, load_config(CONFIG), every=140, progress=False)
    states = [analyze_one(options).state, analyze_one(options).state]
    changed = options.config.model_copy(
        update={"distance": options.config.distance.model_copy(update={"threshold_m": 1.0})}
    )
    states.append(analyze_one(AnalysisOptions(options.video, tmp_path, changed, every=140, progress=False)).state)
    assert states == ["done", "there", "done"]


def test_what_another_command_put_there_is_not_taken_for_its_own(tmp_path, videos):
    options = AnalysisOptions(videos / "door.mp4", tmp_path, load_config(CONFIG), every=140, progress=False)
    states = [analyze_one(options).state]
    analyze(AnalysisOptions(options.video, tmp_path, options.config, every=70, progress=False))
    states.append(analyze_one(options).state)
    assert states == ["done", "done"]


def test_a_fault_of_the_program_is_an_outcome_too(tmp_path, videos, monkeypatch):
    def broken(options):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("edge_app.analysis.many.analyze", broken)
    outcome = analyze_one(AnalysisOptions(videos / "door.mp4", tmp_path, load_config(CONFIG)))
    assert (outcome.state, "RuntimeError: on purpose" in outcome.reason) == ("failed", True)


def test_videos_are_found_in_folders_and_lists_each_with_a_folder_of_its_own(tmp_path, videos):
    assert [str(folder) for _, folder in find_videos(videos)] == ["broken.mp4", "door.mp4", "yard/door.mp4"]
    listing = tmp_path / "list.txt"
    listing.write_text(f"# two of them\n{videos}/yard/door.mp4\n\n{videos}/door.mp4\n{videos}/door.mp4\n")
    assert [str(folder) for _, folder in find_videos(listing)] == ["yard/door.mp4", "door.mp4"]


def test_a_video_with_several_names_is_listed_once_and_keeps_its_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/a.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    listing = tmp_path / "list.txt"
    listing.write_text("a.mp4\nsub/../a.mp4\nlink.mp4\n./a.mp4\nsub/a.mp4\n")
    found = [(tmp_path.resolve() / folder, Path(folder)) for folder in ("a.mp4", "sub/a.mp4")]
    assert find_videos(listing) == found
    listing.write_text("link.mp4\nsub/a.mp4\n")
    assert find_videos(listing) == found


def test_links_in_a_folder_make_no_second_analysis(tmp_path):
    where, elsewhere = tmp_path / "videos", tmp_path / "elsewhere.mp4"
    where.mkdir()
    elsewhere.write_bytes(b"far")
    (where / "z.mp4").write_bytes(b"near")
    for name, target in (("a.mp4", "z.mp4"), ("m.mp4", elsewhere), ("n.mp4", elsewhere)):
        (where / name).symlink_to(target)
    assert [str(folder) for _, folder in find_videos(where)] == ["m.mp4", "z.mp4"]
    # As docs/many_videos.md says.
    (where / "b.mp4").symlink_to(elsewhere)
    assert [str(folder) for _, folder in find_videos(where)] == ["b.mp4", "z.mp4"]


def test_a_list_may_begin_with_a_byte_order_mark_and_results_do_not_go_among_the_videos(tmp_path, videos):
    listing = tmp_path / "list.txt"
    listing.write_text(f"{videos}/door.mp4\n", encoding="utf-8-sig")
    assert [path.name for path, _ in find_videos(listing)] == ["door.mp4"]
    with pytest.raises(UserError, match=r"results cannot go into .* itself"):
        find_videos(videos, videos)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), ("", "lists no video"), ("x\nnowhere.mp4\n", "line 1: x is no file")],
)
def test_a_list_that_cannot_be_used_is_said(tmp_path, content, said):
    listing = tmp_path / "list.txt"
    if content is not None:
        listing.write_text(content)
    with pytest.raises(UserError, match=said):
        find_videos(listing)
    with pytest.raises(UserError, match="no video lies in"):
        find_videos(tmp_path)


def test_a_scheduler_that_is_not_there_is_said(tmp_path, videos, monkeypatch):
    monkeypatch.setattr("edge_app.analysis.many._CONNECT_S", 0.5)
    with pytest.raises(UserError, match="does not answer"):
        analyze_many(template(tmp_path), find_videos(videos), scheduler="tcp://127.0.0.1:9")

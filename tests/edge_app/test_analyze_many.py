from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.analysis.many import Outcome, analyze_many, analyze_one, find_videos
from edge_app.config import SAMPLE, load_config
from edge_app.errors import UserError

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


@pytest.mark.slow
def test_a_video_that_kills_its_worker_fails_alone(tmp_path, videos):
    outcomes = analyze_many(template(tmp_path), find_videos(videos), workers=1, work=die_on_the_yard)
    assert {Path(o.video).parent.name if "yard" in o.video else Path(o.video).name: o.state for o in outcomes} == {
        "broken.mp4": "done", "door.mp4": "done", "yard": "failed",
    }  # fmt: skip
    assert "the worker died" in outcomes[-1].reason
    assert [row["state"] for row in json.loads((tmp_path / "overview.json").read_text())] == ["done", "done", "failed"]


def test_other_settings_are_analysed_anew(tmp_path, videos):
    options = AnalysisOptions(videos / "door.mp4", tmp_path, load_config(CONFIG), every=140, progress=False)
    states = [analyze_one(options).state, analyze_one(options).state]
    changed = options.config.model_copy(
        update={"distance": options.config.distance.model_copy(update={"threshold_m": 1.0})}
    )
    states.append(analyze_one(AnalysisOptions(options.video, tmp_path, changed, every=140, progress=False)).state)
    assert states == ["done", "there", "done"]


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

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from edge_app.analysis import AnalysisOptions, Interrupted, analyze, checkpoint
from edge_app.analysis import analyze as run_analysis
from edge_app.analysis.summary import Totals
from edge_app.config import SAMPLE, load_config
from edge_app.errors import UserError
from edge_app.hindsight import Recording
from edge_app.overlapped import Overlapped
from tests.edge_app.videos import write_video

CLIP = SAMPLE / "pets_s2l1_excerpt.mp4"
CLIP_FRAMES = 140
FILES = {"tracks.txt", "pairs.csv", "events.csv", "summary.json", "report.html"}


@pytest.fixture(scope="module")
def demo_config():
    return load_config(Path("config/demo.yaml"))


@pytest.fixture(scope="module")
def analysed(demo_config, tmp_path_factory):
    """The sample clip, analysed once."""
    out = tmp_path_factory.mktemp("analysed") / "out"
    summary = analyze(AnalysisOptions(CLIP, out, demo_config, progress=False))
    return out, summary


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_file_of_the_contract_is_there_and_nothing_else(analysed):
    assert {path.name for path in analysed[0].iterdir()} == FILES


def test_people_and_violations_are_found_in_the_sample_clip(analysed):
    _, summary = analysed
    assert summary["frames"] == summary["frames_analysed"] == CLIP_FRAMES
    assert summary["people"]["seen"] >= 3
    assert summary["violations"]["events"] >= 1
    assert 0 < summary["violations"]["closest_m"] < 2.0


def test_tracks_are_motchallenge_rows(analysed):
    rows = [line.split(",") for line in (analysed[0] / "tracks.txt").read_text().splitlines()]
    assert all(len(row) == 10 for row in rows)
    frames = [int(row[0]) for row in rows]
    assert frames == sorted(frames)
    assert frames[0] >= 1
    assert frames[-1] <= CLIP_FRAMES
    assert {row[9] for row in rows} == {"0"}
    assert len({(row[0], row[1]) for row in rows}) == len(rows)


def test_pairs_and_events_agree_with_one_another_and_the_summary(analysed):
    out, summary = analysed
    pairs, events = rows_of(out / "pairs.csv"), rows_of(out / "events.csv")
    assert len(events) == summary["violations"]["events"]
    for event in events:
        mine = [
            row
            for row in pairs
            if (row["id_a"], row["id_b"]) == (event["id_a"], event["id_b"])
            and float(event["start_s"]) - 1e-3 <= float(row["time_s"]) <= float(event["end_s"]) + 1e-3
        ]
        assert min(float(row["distance_m"]) for row in mine) == pytest.approx(float(event["min_distance_m"]), abs=2e-3)
        assert float(event["duration_s"]) == pytest.approx(float(event["end_s"]) - float(event["start_s"]), abs=2e-3)
    for row in pairs:
        assert int(row["id_a"]) < int(row["id_b"])
        assert float(row["sigma_m"]) > 0
        assert 0 <= float(row["p_violation"]) <= 1


def test_the_report_needs_no_network_and_names_no_folder(analysed):
    text = (analysed[0] / "report.html").read_text()
    assert "<script src" not in text
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert str(CLIP.parent) not in text


def results(out):
    """Everything that an analysis says, without what depends on the day's speed."""
    summary = json.loads((out / "summary.json").read_text())
    del summary["timings"]
    return {name: (out / name).read_bytes() for name in ("tracks.txt", "pairs.csv", "events.csv")}, summary


def test_an_interrupted_analysis_goes_on_to_the_same_result(analysed, demo_config, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[run_analysis.__module__], "_CHECKPOINT_INTERVAL_S", 0.0)
    options = AnalysisOptions(CLIP, tmp_path / "out", demo_config, progress=False)
    module = sys.modules[run_analysis.__module__]
    real = module.save_checkpoint
    count = 0

    def save_and_stop_at_the_fortieth(*args):
        nonlocal count
        real(*args)
        count += 1
        if count == 40:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "save_checkpoint", save_and_stop_at_the_fortieth)
    # 7 frames a second: blocks of 4 s end with frames 29 and 57, and the first is complete with the second's end.
    with pytest.raises(Interrupted, match=r"interrupted after frame 9[67]; the same command goes on from frame 58"):
        analyze(options)
    assert not (tmp_path / "out" / "summary.json").exists()
    monkeypatch.setattr(module, "save_checkpoint", real)
    frames = []
    monkeypatch.setattr(
        module.ResultFiles,
        "write",
        lambda self, result, write=module.ResultFiles.write: frames.append(result.index) or write(self, result),
    )
    analyze(options)
    assert frames == list(range(57, CLIP_FRAMES))
    assert results(tmp_path / "out") == results(analysed[0])


def test_an_analysis_killed_outright_goes_on_to_the_same_result(analysed, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "edge_app",
        "analyze",
        str(CLIP),
        "--config",
        "config/demo.yaml",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    saved = out / ".unfinished" / "checkpoint.npz"
    while process.poll() is None and time.monotonic() < deadline and not saved.exists():
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert results(out) == results(analysed[0])
    assert {path.name for path in out.iterdir()} == FILES


def test_one_that_is_interrupted_before_anything_is_sure_says_that_it_starts_over(demo_config, tmp_path, monkeypatch):
    real = Recording.add

    def add_and_stop(self, index, *rest):
        if index == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, index, *rest)

    monkeypatch.setattr(Recording, "add", add_and_stop)
    with pytest.raises(Interrupted, match=r"interrupted after frame 2[12]; the same command starts over"):
        analyze(AnalysisOptions(CLIP, tmp_path / "out", demo_config, progress=False))


def test_a_checkpoint_of_an_older_layout_is_not_gone_on_from(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_VERSION", 1)
    checkpoint.save_checkpoint(tmp_path, "key", {"next_frame": 3}, {})
    assert checkpoint.load_checkpoint(tmp_path, "key") is not None
    monkeypatch.undo()
    assert checkpoint.load_checkpoint(tmp_path, "key") is None


def test_another_configuration_does_not_go_on_from_a_foreign_checkpoint(demo_config, tmp_path, monkeypatch):
    module = sys.modules[run_analysis.__module__]
    monkeypatch.setattr(module, "_CHECKPOINT_INTERVAL_S", 0.0)
    real = module.save_checkpoint

    def save_and_stop(*args):
        real(*args)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(module, "save_checkpoint", save_and_stop)
    with pytest.raises(Interrupted):
        analyze(AnalysisOptions(CLIP, tmp_path / "out", demo_config, progress=False))
    monkeypatch.setattr(module, "save_checkpoint", real)
    other = demo_config.model_copy(update={"distance": demo_config.distance.model_copy(update={"threshold_m": 1.0})})
    summary = analyze(AnalysisOptions(CLIP, tmp_path / "out", other, progress=False))
    assert summary["frames_analysed"] == CLIP_FRAMES
    assert summary["violations"]["threshold_m"] == 1.0


def test_no_more_are_there_at_once_than_were_seen():
    totals = Totals(frames=10, person_frames=20, people_at_most=3)
    assert totals.people(seen=2) == {"seen": 2, "at_most_at_once": 2, "mean_at_once": 2.0}


def test_every_other_frame_is_analysed_on_request(demo_config, tmp_path):
    summary = analyze(AnalysisOptions(CLIP, tmp_path / "out", demo_config, every=2, progress=False))
    assert summary["frames_analysed"] == CLIP_FRAMES // 2
    assert summary["frames"] == CLIP_FRAMES
    frames = {int(line.split(",")[0]) for line in (tmp_path / "out" / "tracks.txt").read_text().splitlines()}
    assert all(frame % 2 == 1 for frame in frames)


def test_an_annotated_video_has_every_frame(demo_config, tmp_path):
    summary = analyze(AnalysisOptions(CLIP, tmp_path / "out", demo_config, annotate=True, progress=False))
    capture = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    count = 0
    while capture.grab():
        count += 1
    assert count == summary["frames"]
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(7.0, abs=0.01)


def test_without_a_calibration_no_distance_is_claimed(tmp_path):
    summary = analyze(AnalysisOptions(CLIP, tmp_path / "out", load_config(None), progress=False))
    assert summary["calibrated"] is False
    assert summary["violations"] is None
    assert rows_of(tmp_path / "out" / "pairs.csv") == []
    tracks = (tmp_path / "out" / "tracks.txt").read_text().splitlines()
    assert tracks
    assert all(line.endswith(",-1,-1,-1") for line in tracks)


def test_a_video_without_people_gives_complete_and_empty_results(tmp_path):
    video = write_video(tmp_path / "grey.avi", frames=12)
    summary = analyze(AnalysisOptions(video, tmp_path / "out", load_config(None), progress=False))
    assert summary["people"]["seen"] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_truncated_video_is_refused_and_leaves_nothing_unless_it_is_accepted(tmp_path):
    whole = write_video(tmp_path / "whole.avi", frames=60, width=320, height=240)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match=r"is truncated: \d+ of 60 frames"):
        analyze(AnalysisOptions(cut, tmp_path / "new" / "out", load_config(None), progress=False))
    assert not (tmp_path / "new").exists()
    options = AnalysisOptions(cut, tmp_path / "out", load_config(None), allow_truncated=True, progress=False)
    assert analyze(options)["truncated"] is True


def test_earlier_results_survive_a_failed_analysis(analysed, tmp_path, demo_config):
    out = tmp_path / "out"
    analyze(AnalysisOptions(CLIP, out, demo_config, progress=False))
    before = results(out)
    cut = tmp_path / "cut.avi"
    whole = write_video(tmp_path / "whole.avi", frames=60, width=320, height=240)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError):
        analyze(AnalysisOptions(cut, out, load_config(None), progress=False))
    assert results(out) == before
    assert {path.name for path in out.iterdir()} == FILES


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        analyze(AnalysisOptions(CLIP, tmp_path / "out", load_config(None), progress=False))
    assert (tmp_path / "out").read_text() == "in the way"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, demo_config, monkeypatch):
    module = sys.modules[run_analysis.__module__]

    def full(self, result):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.ResultFiles, "write", full)
    with pytest.raises(UserError, match=r"No space left on device.*free space"):
        analyze(AnalysisOptions(CLIP, tmp_path / "out", demo_config, progress=False))
    assert not (tmp_path / "out").exists()


def test_what_was_done_is_kept_when_a_video_ends_too_early(tmp_path, monkeypatch):
    module = sys.modules[run_analysis.__module__]
    monkeypatch.setattr(module, "_CHECKPOINT_INTERVAL_S", 0.0)
    cut = tmp_path / "cut.avi"
    whole = write_video(tmp_path / "whole.avi", frames=240, width=320, height=240)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    options = AnalysisOptions(cut, tmp_path / "out", load_config(None), progress=False)
    with pytest.raises(UserError, match="is truncated"):
        analyze(options)
    begun = []
    skip = module.VideoFile.skip
    monkeypatch.setattr(module.VideoFile, "skip", lambda self, count: (begun.append(count), skip(self, count)))
    assert analyze(replace(options, allow_truncated=True))["truncated"]
    assert begun and begun[0] > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_two_analyses_do_not_write_into_one_folder(tmp_path, demo_config, monkeypatch):
    module = sys.modules[run_analysis.__module__]
    refused = []

    def write_while_another_begins(self, result):
        if not refused:
            with pytest.raises(UserError, match=r"another analysis writes to .*; wait until it is done") as caught:
                analyze(options)
            refused.append(caught)
        write(self, result)

    write = module.ResultFiles.write
    monkeypatch.setattr(module.ResultFiles, "write", write_while_another_begins)
    options = AnalysisOptions(CLIP, tmp_path / "out", demo_config, every=10, progress=False)
    assert analyze(options)["frames_analysed"] == CLIP_FRAMES // 10
    assert refused
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_overlapped_items_keep_their_order_and_their_errors():
    def items():
        yield from range(50)
        raise ValueError("at the end")

    seen = []
    with Overlapped(items(), "test") as stage, pytest.raises(ValueError, match="at the end"):
        for item in stage:
            seen.append(item)
    assert seen == list(range(50))


def test_leaving_an_overlapped_stage_early_does_not_hang():
    def endless():
        index = 0
        while True:
            yield index
            index += 1

    with Overlapped(endless(), "test") as stage:
        assert next(iter(stage)) == 0

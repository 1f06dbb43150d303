"""The command, and the figures on the real scene."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_app.calibration import load_camera
from edge_app.errors import UserError
from training.scene_evaluation.camera_accuracy import measure_camera, measure_older_formulas
from training.scene_evaluation.command import evaluate_scene
from training.scene_evaluation.scene_files import read_ground_truth

REPOSITORY = Path(__file__).resolve().parents[2]
CAMERA = REPOSITORY / "config" / "cameras" / "pets_view001.yaml"
PETS = REPOSITORY.parent / "shared" / "data" / "pets"
needs_pets = pytest.mark.skipif(not PETS.is_dir(), reason="the PETS ground truth (../shared/data/pets) is not here")

# Two people one metre apart for three seconds at ten frames a second.
PEOPLE = [(identity, left, x) for identity, left, x in ((1, 101, -8.0), (2, 201, -7.0))]
GROUND_TRUTH = [f"{f},{i},{left},301,30,70,1,{x},-9,0" for f in range(1, 31) for i, left, x in PEOPLE]
TRACKS = [f"{f},{i + 4},{left},301,30,70,0.9,{x},-9,0" for f in range(1, 31) for i, left, x in PEOPLE]
EVENTS = [
    "event_id,id_a,id_b,start_s,end_s,duration_s,min_distance_m,mean_distance_m,same_group",
    "1,5,6,0.000,2.900,2.900,1.000,1.000,",
]
LABELS = {"ignore_rects_foot": [[0, 0, 420, 118]], "images": [{"width": 768, "height": 576}]}


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "gt.txt").write_text("\n".join(GROUND_TRUTH) + "\n", encoding="utf-8")
    (tmp_path / "tracks.txt").write_text("\n".join(TRACKS) + "\n", encoding="utf-8")
    (tmp_path / "events.csv").write_text("\n".join(EVENTS) + "\n", encoding="utf-8")
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    return ["--gt", str(tmp_path / "gt.txt"), "--tracks", str(tmp_path / "tracks.txt"), "--fps", "10"]


def test_json_has_every_figure_that_was_asked_for(arguments: list[str], tmp_path: Path) -> None:
    more = ["--camera", str(CAMERA), "--ignore", str(tmp_path / "labels.json")]
    more += ["--events", str(tmp_path / "events.csv"), "--json"]
    result = CliRunner().invoke(evaluate_scene, [*arguments, *more], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["frames"], report["people"]) == (30, 2)
    assert (report["plain"]["tracking"]["mota"], report["plain"]["tracking"]["idf1"]) == (1.0, 1.0)
    assert report["plain"]["pairs"]["close_pairs"] == {
        "true_positives": 30,
        "false_positives": 0,
        "false_negatives": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }
    assert report["plain"]["pairs"]["intervals"]["f1"] == [1.0, 1.0]
    assert report["plain"]["events"]["true_positives"] == 1
    assert report["ignoring"]["tracking"]["mota"] == 1.0
    assert report["camera"]["position"]["count"] == 60
    assert set(report["older_formulas"]) == {"CenterPointsDistance", "FourCornerPointsDistance"}


@pytest.mark.parametrize(("shift_m", "known"), [(0.3, True), (50.0, False)])
def test_people_are_matched_on_the_ground_too_where_both_have_the_same_axes(
    arguments: list[str], tmp_path: Path, shift_m: float, known: bool
) -> None:
    rows = [line.split(",") for line in TRACKS]
    moved = [",".join([*row[:7], str(float(row[7]) + shift_m), *row[8:]]) for row in rows]
    (tmp_path / "tracks.txt").write_text("\n".join(moved) + "\n", encoding="utf-8")
    options = [*arguments, "--events", str(tmp_path / "events.csv")]
    report = json.loads(CliRunner().invoke(evaluate_scene, [*options, "--json"], catch_exceptions=False).stdout)
    assert report["plain"]["pairs"]["close_pairs"]["f1"] == 1.0
    assert (report["plain"]["ground_pairs"] is not None) == known
    text = CliRunner().invoke(evaluate_scene, options, catch_exceptions=False).stdout
    assert ("matched by their place" in text) == known
    if known:
        assert report["plain"]["ground_pairs"]["close_pairs"]["f1"] == 1.0
        assert report["plain"]["ground_events"]["true_positives"] == 1


def test_undefined_figures_are_null_and_parts_not_asked_for_are_left_out(arguments: list[str]) -> None:
    options = [*arguments, "--threshold-m", "0.5", "--json"]
    report = json.loads(CliRunner().invoke(evaluate_scene, options, catch_exceptions=False).stdout)
    assert report["plain"]["pairs"]["close_pairs"]["f1"] is None
    assert report["camera"] is None
    assert report["ignoring"] is None
    assert report["plain"]["events"] is None


def test_the_table_names_both_variants_and_the_comparison(arguments: list[str], tmp_path: Path) -> None:
    options = [*arguments, "--ignore", str(tmp_path / "labels.json"), "--camera", str(CAMERA)]
    text = CliRunner().invoke(evaluate_scene, options, catch_exceptions=False).stdout
    assert "30 frames, 3.0 s at 10 frames a second, 2 people; close: under 2 m" in text
    assert "Tracks, as MOTChallenge scores\n  MOTA 1.000  IDF1 1.000  precision 1.000  recall 1.000\n" in text
    assert "without boxes where nobody is annotated (--ignore)" in text
    assert "the older app's distances" in text


def test_the_table_says_why_uncalibrated_tracks_have_no_distances(arguments: list[str], tmp_path: Path) -> None:
    rows = [f"{f},{i},{left},301,30,70,0.9,-1,-1,-1" for f in range(1, 31) for i, left, _ in PEOPLE]
    (tmp_path / "tracks.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert "no distances: the tracks have no positions" in CliRunner().invoke(evaluate_scene, arguments).stdout


def test_event_rules_come_from_the_configuration(arguments: list[str], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("events: {min_duration_s: 10}\n", encoding="utf-8")
    options = [*arguments, "--events", str(tmp_path / "events.csv"), "--config", str(config), "--json"]
    report = json.loads(CliRunner().invoke(evaluate_scene, options, catch_exceptions=False).stdout)
    assert report["plain"]["events"]["false_positives"] == 1
    assert report["plain"]["events"]["false_negatives"] == 0


def test_an_excerpt_is_scored_like_the_whole(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "tracks.txt").write_text("\n".join(TRACKS[:20]) + "\n", encoding="utf-8")
    options = [*arguments, "--excerpt", "21:30", "--json"]
    report = json.loads(CliRunner().invoke(evaluate_scene, options, catch_exceptions=False).stdout)
    assert report["frames"] == 10
    assert report["plain"]["tracking"]["mota"] == 1.0
    assert report["plain"]["pairs"]["close_pairs"]["true_positives"] == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "0"], "--fps 0 is not a positive number"),
        (["--threshold-m", "nan"], "--threshold-m nan is not a positive number"),
        (["--excerpt", "5"], "--excerpt 5 is not FIRST:LAST"),
        (["--excerpt", "9:5"], "--excerpt 9:5 is not FIRST:LAST"),
    ],
)
def test_an_option_out_of_range_is_named(arguments: list[str], options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(evaluate_scene, [*arguments, *options], catch_exceptions=False)


@needs_pets
def test_perfect_boxes_through_the_shipped_camera_give_distances_within_five_centimetres() -> None:
    accuracy = measure_camera(read_ground_truth(PETS / "gt.txt"), load_camera(CAMERA), 2.0)
    assert accuracy.without_position == 0
    assert accuracy.pair_distance.count == 11212
    assert accuracy.pair_distance.median_m <= 0.05
    assert accuracy.near_pair_distance.p90_m <= 0.05
    assert accuracy.close_pairs.f1 >= 0.98


@needs_pets
def test_the_older_formulas_call_many_people_close_who_are_not() -> None:
    scores = measure_older_formulas(read_ground_truth(PETS / "gt.txt"), 2.0)
    assert scores["CenterPointsDistance"].f1 == pytest.approx(0.69, abs=0.02)
    assert scores["FourCornerPointsDistance"].f1 == pytest.approx(0.65, abs=0.02)

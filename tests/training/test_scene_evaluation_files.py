"""What the evaluation reads, and what it says about input that cannot be evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_app.errors import UserError
from training.scene_evaluation.evaluation import SceneInputs, evaluate
from training.scene_evaluation.scene_files import read_ground_truth, read_ignore_regions, read_tracks

GROUND_TRUTH = "1,9,499,158,30,70,1,-4.5,-7.25,0\n2,9,501,158,30,70,1,-4.0,-7.25,0\n"
TRACKS = "1,3,499,158,30,70,0.9,-4.5,-7.25,0\n2,3,501,158,30,70,0.9,-4.0,-7.25,0\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def inputs(folder: Path, ground_truth: str = GROUND_TRUTH, tracks: str = TRACKS, **options: object) -> SceneInputs:
    return SceneInputs(
        write(folder, "gt.txt", ground_truth),
        write(folder, "tracks.txt", tracks),
        **{"fps": 10.0, **options},  # type: ignore[arg-type]
    )


def test_pixels_counted_from_one_become_continuous_coordinates_from_zero(tmp_path: Path) -> None:
    rows = read_ground_truth(write(tmp_path, "gt.txt", GROUND_TRUTH))
    assert rows.bbox[0].tolist() == [498, 157, 528, 227]
    assert rows.xy_m[0].tolist() == [-4.5, -7.25]


def test_minus_one_is_a_position_where_z_is_zero_and_none_where_z_is_minus_one(tmp_path: Path) -> None:
    rows = read_tracks(write(tmp_path, "tracks.txt", "1,1,1,1,9,9,0.9,-1,-1,0\n1,2,50,1,9,9,0.9,-1,-1,-1\n"))
    assert rows.xy_m[0].tolist() == [-1, -1]
    assert np.isnan(rows.xy_m[1]).all()


def test_an_excerpt_starts_at_frame_one(tmp_path: Path) -> None:
    rows = read_ground_truth(write(tmp_path, "gt.txt", GROUND_TRUTH)).excerpt(2, 2)
    assert rows.frame.tolist() == [1]
    assert rows.bbox[0, 0] == 500


def test_feet_in_a_rectangle_and_boxes_at_the_border_lie_where_nobody_is_annotated(tmp_path: Path) -> None:
    labels = {"ignore_rects_foot": [[0, 0, 420, 118]], "images": [{"width": 768, "height": 576}]}
    regions = read_ignore_regions(write(tmp_path, "labels.json", json.dumps(labels)))
    boxes = [[100, 50, 120, 110], [100, 70, 120, 130], [0, 300, 30, 380], [738, 300, 767.5, 380], [300, 500, 330, 576]]
    assert regions.covers(np.array(boxes, np.float64)).tolist() == [True, False, True, True, True]


def test_ground_truth_without_world_coordinates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no world coordinates.*give one with metres"):
        read_ground_truth(write(tmp_path, "gt.txt", "1,9,499,158,30,70,1,-1,-1,-1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,9,499,158,30,70,1,1,1\n", "row 1: not 10 numbers"),
        ("1,9,499,158,30,70,1,1,1,0\n1,8,x,158,30,70,1,1,1,0\n", "row 2: not 10 numbers"),
        ("1,9,499,158,nan,70,1,1,1,0\n", "not finite"),
        ("0,9,499,158,30,70,1,1,1,0\n", "whole numbers from 1"),
        ("1,9,499,158,0,70,1,1,1,0\n", "without width or height"),
        ("1,9,499,158,30,70,1,1,1,0\n1,9,499,158,30,70,1,1,1,0\n", "identity twice"),
        ("", "has no rows"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_ground_truth(write(tmp_path, "gt.txt", text))


@pytest.mark.parametrize("name", ["ground_truth", "tracks", "camera", "ignore", "events"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    given = inputs(tmp_path)
    with pytest.raises(UserError, match=r"absent\.file do(es)? not exist"):
        evaluate(SceneInputs(**{**vars(given), name: tmp_path / "absent.file"}))


def test_labels_without_regions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ignore_rects_foot"):
        read_ignore_regions(write(tmp_path, "labels.json", '{"images": []}'))


def test_events_of_another_format_are_refused(tmp_path: Path) -> None:
    events = write(tmp_path, "events.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match=r"not an events\.csv"):
        evaluate(inputs(tmp_path, events=events))


def test_tracks_that_go_on_after_the_ground_truth_are_of_another_video(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"go on to frame 3 but the ground truth to 2.*--excerpt"):
        evaluate(inputs(tmp_path, tracks="3,3,499,158,30,70,0.9,-4.5,-7.25,0\n"))


def test_a_summary_of_a_shorter_video_is_of_another_video(tmp_path: Path) -> None:
    write(tmp_path, "summary.json", '{"frames": 1, "frames_analysed": 1, "fps": 10}')
    with pytest.raises(UserError, match="video of 1 frames but the ground truth has 2"):
        evaluate(inputs(tmp_path))


def test_tracks_of_every_second_frame_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "summary.json", '{"frames": 2, "frames_analysed": 1, "fps": 10}')
    with pytest.raises(UserError, match="1 of 2 frames; analyse every frame"):
        evaluate(inputs(tmp_path))


def test_the_frame_rate_comes_from_the_summary_beside_the_tracks_or_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--fps"):
        evaluate(inputs(tmp_path, fps=None))
    write(tmp_path, "summary.json", '{"frames": 2, "frames_analysed": 2, "fps": 7.0}')
    assert evaluate(inputs(tmp_path, fps=None)).fps == 7.0


def test_an_excerpt_beyond_the_ground_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends at frame 2.*correct --excerpt"):
        evaluate(inputs(tmp_path, excerpt=(2, 3)))

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.config import Config
from training.cli import cli
from training.simulation.crowds import simulate_crowd
from training.simulation.scenes import Crowd, random_scene, walking_people
from training.simulation.seen_by_detector import DetectorModel, detections_of

PERFECT = DetectorModel(
    misses=0.0, missed_when_hidden=0.0, loose=0.0, merged=0.0, twice=0.0, things=0, flicker=0.0, score_mean=0.9,
    score_sd=0.0, weak_mean=0.9, weak_sd=0.0,
)  # fmt: skip


def test_a_detector_without_mistakes_gives_nearly_all_pairs():
    crowd = Crowd(people=4, seconds=12.0, fps=7.0, noise_px=0.2, noise_part=0.005, together=1.0)
    scores = [simulate_crowd(seed, crowd, PERFECT, Config()) for seed in (1, 2)]
    right = sum(score.pairs.true_positives for score in scores)
    wrong = sum(score.pairs.false_positives + score.pairs.false_negatives for score in scores)
    assert right > 50
    assert wrong < 0.35 * right


def test_mistakes_of_each_kind_are_made_as_often_as_stated():
    generator = np.random.default_rng(3)
    scene = random_scene(generator)
    crowd = Crowd(people=6, seconds=40.0, fps=7.0)
    model = DetectorModel(missed_when_hidden=0.08, merged=0.0, twice=0.0, loose=0.0, things=1, flicker=0.0)
    shown = found = 0
    for frame, detections, _ in detections_of(scene, walking_people(scene, crowd, generator), 1 / 7, model, generator):
        shown += len(frame.tracks)
        found += len(detections)
    frames = 40 * 7
    # Of people 92 %, and the thing in 70 % of the frames; what overlaps is suppressed.
    assert found == pytest.approx(0.92 * shown + 0.7 * frames, rel=0.2)


def test_the_same_seed_gives_the_same_figures_and_another_other_ones():
    crowd = Crowd(people=4, seconds=8.0, fps=5.0)
    first, again, other = (simulate_crowd(seed, crowd, DetectorModel(), Config()) for seed in (5, 5, 6))
    assert first == again
    assert first.boxes != other.boxes


def test_the_command_prints_f1_of_boxes_pairs_and_events_with_intervals():
    arguments = ["simulate-crowds", "--scenes", "2", "--seconds", "6", "--people", "4", "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report) == {"boxes", "pairs", "events", "idf1", "scenes"}
    low, high = report["boxes"]["f1_95"]
    assert 0 <= low <= report["boxes"]["f1"] <= high <= 1

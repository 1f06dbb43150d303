from __future__ import annotations

import numpy as np
import pytest

from training.scene_evaluation.hota import score_hota
from training.scene_evaluation.scene_files import SceneRows


def rows(*items):
    """Rows (frame, id, left): boxes of 10 x 20 pixels."""
    table = np.array(items, float).reshape(-1, 3)
    left = table[:, 2]
    bbox = np.stack([left, np.zeros_like(left), left + 10, np.full_like(left, 20)], axis=1)
    count = len(table)
    return SceneRows(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), bbox, np.ones(count), np.full((count, 2), np.nan)
    )


PERSON = rows(*[(frame, 1, 100) for frame in range(1, 11)])


def test_perfect_tracks_score_one():
    scores = score_hota(PERSON, PERSON)
    assert (scores.hota, scores.det_a, scores.ass_a, scores.loc_a, scores.idf1) == pytest.approx((1, 1, 1, 1, 1))


def test_an_identity_that_changes_half_way_halves_the_association():
    # 10 detections, all found; each of the two tracks covers 5 of the person's 10: A = 5 / (10 + 5 - 5) = 0.5.
    split = rows(*[(frame, 1 + (frame > 5), 100) for frame in range(1, 11)])
    scores = score_hota(PERSON, split)
    assert scores.det_a == pytest.approx(1.0)
    assert scores.ass_a == pytest.approx(0.5)
    assert scores.hota == pytest.approx(np.sqrt(0.5))
    # The better of the two is right 5 times, 5 are missed by it and 5 boxes are another's: 2*5 / (10 + 10) = 0.5.
    assert scores.idf1 == pytest.approx(0.5)


def test_a_shifted_box_counts_up_to_its_overlap():
    # Shifted by a third of its width: IoU 6.67 / 13.33 = 0.5, so 10 of the 19 thresholds (0.05 to 0.50) are met.
    shifted = rows(*[(frame, 1, 100 + 10 / 3) for frame in range(1, 11)])
    assert score_hota(PERSON, shifted).det_a == pytest.approx(10 / 19, abs=0.001)


def test_only_analysed_frames_count():
    every_other = rows(*[(frame, 7, 100) for frame in range(1, 11, 2)])
    assert score_hota(PERSON, every_other, every=2).hota == pytest.approx(1.0)
    assert score_hota(PERSON, every_other).det_a == pytest.approx(0.5)


def test_no_tracks_at_all_score_nothing():
    assert score_hota(PERSON, rows()).idf1 == 0.0

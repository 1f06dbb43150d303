"""How much the score of a box says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_app.records import BoolArray, FloatArray

# Log-odds that a box shows a person, as a line over its score: of the boxes that the released model finds in COCO128,
# which it was not trained on (0.11 of those of score 0.15 to 0.25 do, 0.36 of 0.45 to 0.55, 0.86 from 0.85 on).
_EVEN_SCORE, _LOG_ODDS_PER_SCORE = 0.60, 5.15
# Log-odds that a box in the place where a track is expected has in its favour.
_IN_PLACE = 2.0


def log_odds(score: FloatArray | NDArray[np.float32]) -> FloatArray:
    """Return (N,) the logarithm of the odds that boxes of these scores show a person."""
    odds: FloatArray = (np.asarray(score, np.float64) - _EVEN_SCORE) * _LOG_ODDS_PER_SCORE
    return odds


def worth_of(score: NDArray[np.float32], has_place: BoolArray) -> FloatArray:
    """Return (N,) scores, lower where the place has nothing in a box's favour since other people explain it."""
    worth: FloatArray = score.astype(np.float64) - np.where(has_place, 0.0, _IN_PLACE / _LOG_ODDS_PER_SCORE)
    return worth


def credit(score: FloatArray) -> FloatArray:
    """Return (N,) how much detections count as evidence of a person: 1 at an even score, more for surer ones."""
    return np.maximum(1.0 + log_odds(score) / _IN_PLACE, 0.0)

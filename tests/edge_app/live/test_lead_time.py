from __future__ import annotations

import numpy as np
import pytest

from edge_app.live.lead_time import LeadTime


def test_steady_preparation_needs_little_more_than_it_takes():
    lead = LeadTime()
    for _ in range(50):
        lead.add(0.004)
    assert lead.seconds == pytest.approx(0.0043, abs=1e-4)


def test_unsteady_preparation_is_begun_so_early_that_nearly_all_are_ready_in_time():
    lead, late = LeadTime(), 0
    for took_s in np.random.default_rng(0).uniform(0.002, 0.006, 1000).tolist():
        late += took_s > lead.seconds
        lead.add(took_s)
    # The first knows nothing yet.
    assert late < 50
    assert lead.seconds < 0.008


def test_a_larger_picture_is_learnt_within_a_few_frames():
    lead = LeadTime()
    for _ in range(50):
        lead.add(0.001)
    for _ in range(5):
        lead.add(0.010)
    assert lead.seconds > 0.010

"""Whether what was seen last says anything about now: one rule for pages, API, MQTT, metrics and health."""

from __future__ import annotations

from typing import Optional

from edge_app.sinks import NoticeKind

# Faults of which there is no picture.
BLIND: frozenset[NoticeKind] = frozenset({"source", "pipeline"})
# A picture older than this says nothing of now.
FRESH_S = 5.0


def is_current(age_s: Optional[float], *, is_broken: bool) -> bool:
    """Tell whether figures of a camera are of now; else nobody knows who is there, and they are given as unknown.

    Args:
        age_s: seconds since its newest result; None where there is none yet.
        is_broken: its source or pipeline gives no picture, and that is known.
    """
    return age_s is not None and age_s <= FRESH_S and not is_broken

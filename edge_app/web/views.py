"""What the dashboard is told, as JSON values."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from edge_app.config import Config
from edge_app.current import FRESH_S
from edge_app.live import Snapshot
from edge_app.masking import masked
from edge_app.records import FrameResult
from edge_app.web.site import CameraView


def ground_view(view: CameraView, config: Config) -> dict[str, Any]:
    """Return the visible ground, the turn that puts the camera's view upright, and the places that are configured.

    Args:
        view: the camera.
        config: of this camera alone.
    """
    said: dict[str, Any] = {"calibrated": view.birdseye is not None, "threshold_m": config.distance.threshold_m}
    if view.birdseye is not None:
        said |= {
            "outline_m": np.round(view.birdseye.outline_m, 3).tolist(),
            "turn": np.round(view.birdseye.turn, 6).tolist(),
            "region_m": config.metrics.region_m,
            "line_m": config.metrics.line_m,
        }
    return said


def state_view(view: CameraView) -> dict[str, Any]:
    """Return everything that is known of a camera now."""
    runner, live = view.runner, view.runner.state
    health = live.health()
    counts = {
        "dropped_frames": runner.dropped,
        "withheld_pictures": view.picture.withheld,
        "viewers": view.picture.viewers,
    }
    said: dict[str, Any] = {
        "camera": view.name,
        "source": view.source_name,
        "model": live.model_name,
        "calibrated": live.calibrated,
        "health": {**health, "fault": _masked(health["fault"]), **counts},
        "banner": _masked(banner(health)),
        "events_total": live.events(0)[1],
    }
    snapshot = live.latest()
    if snapshot is not None:
        said["now"] = _now(snapshot, is_current=health["current"])
    return said


def banner(health: dict[str, Any]) -> Optional[str]:
    """Return the one sentence that people must see, or None."""
    if health["fault"]:
        return str(health["fault"])
    if health["ended"]:
        return "the recording has ended"
    if health["newest_frame_age_s"] > FRESH_S:
        return f"no frame for {health['newest_frame_age_s']:.0f} seconds"
    if health["degraded"]:
        return "; ".join(health["degraded"])
    return None


def _masked(sentence: Optional[str]) -> Optional[str]:
    return None if sentence is None else masked(sentence)


def _now(snapshot: Snapshot, *, is_current: bool) -> dict[str, Any]:
    """Return the newest frame; figures of a picture that is not of now, or that were not measured, are None."""
    said: dict[str, Any] = {
        "sequence": snapshot.sequence,
        "time_s": round(snapshot.result.time_s, 3),
        "utc_s": round(snapshot.utc_s, 3),
        "people": None,
        "people_too_close": None,
        "pairs_too_close": None,
        "nearest_m": None,
        "positions": [],
        "close_pairs": [],
    }
    if is_current:
        said["people"] = int(snapshot.result.tracks.observed.sum())
        if snapshot.result.in_metres:
            said |= _measured(snapshot.result)
    return said


def _measured(result: FrameResult) -> dict[str, Any]:
    """Return what is known in metres."""
    violating = set(result.violating_people.tolist())
    rows = np.flatnonzero(result.tracks.observed & result.ground.valid)
    distances = {
        (a, b): distance
        for a, b, distance in zip(
            result.pairs.id_a.tolist(), result.pairs.id_b.tolist(), result.pairs.distance_m.tolist()
        )
    }
    return {
        "people_too_close": len(violating),
        "pairs_too_close": len(result.violating_pairs),
        "nearest_m": round(float(result.pairs.distance_m.min()), 2) if len(result.pairs) else None,
        "positions": [
            {
                "id": int(result.tracks.id[row]),
                "xy_m": np.round(result.ground.xy_m[row], 3).tolist(),
                "cov_m2": np.round(result.ground.cov_m2[row], 5).tolist(),
                "too_close": int(result.tracks.id[row]) in violating,
            }
            for row in rows
        ],
        "close_pairs": [
            {"id_a": a, "id_b": b, "distance_m": round(distances[a, b], 2)}
            for a, b in result.violating_pairs.tolist()
            if (a, b) in distances
        ],
    }

"""What the dashboard is told, as JSON values."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from edge_app.live import LiveRunner, Snapshot
from edge_app.records import ViolationEvent
from edge_app.render.birdseye import BirdsEye


def ground_view(birdseye: Optional[BirdsEye]) -> dict[str, Any]:
    """Return the visible ground and the turn that puts the camera's view upright, or nothing uncalibrated."""
    if birdseye is None:
        return {"calibrated": False}
    return {
        "calibrated": True,
        "outline_m": np.round(birdseye.outline_m, 3).tolist(),
        "turn": np.round(birdseye.turn, 6).tolist(),
    }


def state_view(runner: LiveRunner, withheld: int, viewers: int) -> dict[str, Any]:
    """Return everything that is known now."""
    live = runner.state
    health = live.health()
    view: dict[str, Any] = {
        "source": live.source_name,
        "model": live.model_name,
        "calibrated": live.calibrated,
        "health": {**health, "dropped_frames": runner.dropped, "withheld_pictures": withheld, "viewers": viewers},
        "banner": banner(health),
        "events_total": live.events(0)[1],
    }
    snapshot = live.latest()
    if snapshot is not None:
        view["now"] = _now(snapshot)
    return view


def banner(health: dict[str, Any]) -> Optional[str]:
    """Return the one sentence that people must see, or None."""
    if health["fault"]:
        return str(health["fault"])
    if health["ended"]:
        return "the recording has ended"
    if health["newest_frame_age_s"] > 5:
        return f"no frame for {health['newest_frame_age_s']:.0f} seconds"
    if health["degraded"]:
        return "; ".join(health["degraded"])
    return None


def event_view(event: ViolationEvent) -> dict[str, Any]:
    """Return one event."""
    return {
        "event_id": event.event_id,
        "id_a": event.id_a,
        "id_b": event.id_b,
        "start_s": round(event.start_s, 3),
        "end_s": round(event.end_s, 3),
        "duration_s": round(event.duration_s, 3),
        "min_distance_m": round(event.min_distance_m, 3),
        "mean_distance_m": round(event.mean_distance_m, 3),
        "same_group": event.same_group,
    }


def _now(snapshot: Snapshot) -> dict[str, Any]:
    result = snapshot.result
    violating = set(result.violating_people.tolist())
    rows = np.flatnonzero(result.tracks.observed & result.ground.valid)
    distances = {
        (a, b): distance
        for a, b, distance in zip(
            result.pairs.id_a.tolist(), result.pairs.id_b.tolist(), result.pairs.distance_m.tolist()
        )
    }
    return {
        "sequence": snapshot.sequence,
        "time_s": round(result.time_s, 3),
        "people": int(result.tracks.observed.sum()),
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

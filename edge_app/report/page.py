"""Fills the report's page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from edge_app.counted import counted
from edge_app.records import FloatArray, ViolationEvent
from edge_app.report.charts import distance_chart, heat_png, minutes, time_chart


def write_page(
    path: Path,
    summary: dict[str, Any],
    *,
    time_s: FloatArray,
    people: FloatArray,
    violating_people: FloatArray,
    violating_pairs: FloatArray,
    distance_counts: FloatArray,
    distance_bin_m: float,
    threshold_m: float,
    heat: Optional[FloatArray],
    heat_cell_m: float,
    events: Sequence[ViolationEvent],
    event_count: int,
    worst_jpeg: Optional[bytes],
) -> None:
    """Write the report as one HTML file without any reference to another one.

    Args:
        path: of the file.
        summary: as in summary.json.
        time_s: (T,) centres of the time bins.
        people, violating_people, violating_pairs: (T,) means over the frames of each bin; NaN where not measured.
        distance_counts: pair measurements in bins of ``distance_bin_m`` from 0.
        distance_bin_m, threshold_m: metres.
        heat: (rows, columns) frames in which somebody was on each cell, row 0 at the smallest y; None uncalibrated.
        heat_cell_m: side of a cell.
        events: to list, in order.
        event_count: of all events, listed or not.
        worst_jpeg: still with people hidden, or None.
    """
    calibrated = heat is not None
    environment = Environment(
        loader=PackageLoader("edge_app.report"), autoescape=select_autoescape(["html"]), trim_blocks=True
    )
    environment.filters.update(minutes=minutes, counted=counted)
    people_series = {"people in view": people}
    if calibrated:
        people_series["of these too close"] = violating_people
    page = environment.get_template("report.html").render(
        summary=summary,
        calibrated=calibrated,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        people_chart=Markup(time_chart(time_s, people_series)),
        pairs_chart=Markup(time_chart(time_s, {"pairs too close": violating_pairs})) if calibrated else None,
        distance_chart=Markup(distance_chart(distance_counts, distance_bin_m, threshold_m)) if calibrated else None,
        heat=_data_uri("image/png", heat_png(heat)) if heat is not None else None,
        heat_size=(heat.shape[1] * heat_cell_m, heat.shape[0] * heat_cell_m) if heat is not None else None,
        heat_cell_m=heat_cell_m,
        threshold_m=threshold_m,
        events=events,
        event_count=event_count,
        worst=_data_uri("image/jpeg", worst_jpeg) if worst_jpeg is not None else None,
    )
    path.write_text(page, encoding="utf-8")


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

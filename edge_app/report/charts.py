"""The charts of the report: SVG by pygal, without scripts, and the heat map as a PNG."""

from __future__ import annotations

import re
from math import ceil
from typing import Optional

import cv2
import numpy as np
import pygal
from pygal.style import Style

from edge_app.records import FloatArray

# Colours that read on light and dark grounds; the page's own variables set text and lines.
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#7b8794",
    foreground_strong="#7b8794",
    foreground_subtle="#7b879444",
    opacity=".25",
    opacity_hover=".4",
    colors=("#2f7f9f", "#d9480f"),
    font_family="inherit",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=14,
    stroke_width=2.2,
    guide_stroke_color="#7b879433",
    major_guide_stroke_color="#7b879455",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
)
_HEAT_PIXELS = 480
_MOST_MARKS = 6


def time_chart(time_s: FloatArray, series: dict[str, FloatArray]) -> str:
    """Draw lines over time as an SVG element.

    Args:
        time_s: (T,) seconds; the axis goes from 0 to the last, whatever was measured then.
        series: (T,) counts by name, in order of importance, the alarming one last; what is NaN, not measured, is a gap.
    """
    marks = axis_marks(max(float(np.nan_to_num(values).max(initial=0.0)) for values in series.values()))
    chart = pygal.XY(
        style=STYLE, width=900, height=280, stroke=True, show_dots=False, fill=True, js=[], range=(0, marks[-1]),
        legend_at_bottom=True, show_x_guides=False, explicit_size=False, x_value_formatter=minutes,
        disable_xml_declaration=True, margin=8, truncate_legend=-1, allow_interruptions=True,
        xrange=(0.0, float(time_s.max(initial=1.0))),
    )  # fmt: skip
    chart.y_labels = marks
    # In place of a random one: an analysis gives the same report again.
    chart.uuid = "time-" + re.sub(r"\W", "-", next(iter(series)))
    for name, values in series.items():
        chart.add(name, _points(time_s, values))
    return still(chart.render(is_unicode=True))


def distance_chart(counts: FloatArray, bin_m: float, threshold_m: float) -> str:
    """Draw how often which distance was measured as an SVG element; bars under the threshold in the alarming colour."""
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
    used = max(used, min(len(counts), int(np.ceil(threshold_m / bin_m)) + 4))
    chart = pygal.StackedBar(
        style=STYLE, width=900, height=280, js=[], show_legend=True, legend_at_bottom=True, margin=8,
        disable_xml_declaration=True, x_labels_major_every=4, show_minor_x_labels=False,
        truncate_label=-1, truncate_legend=-1,
    )  # fmt: skip
    chart.uuid = "distances"
    edges = np.arange(used) * bin_m
    chart.x_labels = [f"{edge:g} m" for edge in edges]
    close = edges + bin_m <= threshold_m + 1e-9
    values = counts[:used]
    chart.add(
        f"{threshold_m:g} m or more", [None if is_close else int(value) for value, is_close in zip(values, close)]
    )
    chart.add(f"under {threshold_m:g} m", [int(value) if is_close else None for value, is_close in zip(values, close)])
    return still(chart.render(is_unicode=True))


def heat_png(heat: FloatArray) -> bytes:
    """Draw where people were as a PNG with transparent ground; north is up, brightness is on a root scale."""
    top = float(heat.max())
    level = np.sqrt(heat / top) if top > 0 else heat
    scale = max(1, _HEAT_PIXELS // max(heat.shape))
    smooth = cv2.GaussianBlur(level, (0, 0), 0.7)
    smooth = np.clip(smooth / max(float(smooth.max()), 1e-9), 0, 1)
    large = cv2.resize(smooth[::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    shade = (large * 255).astype(np.uint8)
    colours = cv2.applyColorMap(shade, cv2.COLORMAP_INFERNO)
    alpha = np.clip(large * 4 * 255, 0, 255).astype(np.uint8)
    ok, encoded = cv2.imencode(".png", np.dstack([colours, alpha]))
    if not ok:
        raise RuntimeError("OpenCV could not encode a PNG")
    return bytes(encoded.tobytes())


def axis_marks(most: float) -> list[int]:
    """Return where an axis of counts is marked: whole, evenly, from 0 to at least ``most`` and 1."""
    step = next(step * 10**power for power in range(12) for step in (1, 2, 5) if most <= step * 10**power * _MOST_MARKS)
    return list(range(0, max(1, ceil(most / step)) * step + 1, step))


def minutes(seconds: float) -> str:
    """Write seconds as minutes:seconds."""
    whole, rest = divmod(round(float(seconds)), 60)
    return f"{whole}:{rest:02d}"


def still(svg: str) -> str:
    """Take pygal's scripts and comments out of a chart: the report stands still and names no address."""
    return re.sub(r"<!--.*?-->|<script.*?</script>|<script[^>]*/>", "", svg, flags=re.DOTALL)


def _points(time_s: FloatArray, values: FloatArray) -> list[tuple[float, Optional[float]]]:
    """Return the points of a line; each part between gaps begins and ends at zero, or it would be filled slantwise."""
    rounded, is_known = np.round(values, 2), ~np.isnan(values)
    if is_known.all():
        return list(zip(time_s.tolist(), rounded.tolist()))
    points: list[tuple[float, Optional[float]]] = []
    cuts = np.flatnonzero(np.diff(is_known)) + 1
    for at_s, part in zip(np.split(time_s, cuts), np.split(rounded, cuts)):
        if np.isnan(part[0]):
            points.append((float(at_s[0]), None))
        else:
            points += [(float(at_s[0]), 0.0), *zip(at_s.tolist(), part.tolist()), (float(at_s[-1]), 0.0)]
    return points

"""The heat map as a plan in metres."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Optional

import numpy as np

from edge_app.report.charts import heat_png
from edge_app.storage.rows import HeatMap

# Beyond this many metres from the middle a position is not one: the calibration was wrong then.
_FARTHEST_M = 100.0
_STEPS_M = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclass(frozen=True)
class HeatPlan:
    """What the page draws: metres, y upwards.

    Attributes:
        left_m, right_m, bottom_m, top_m: extent.
        image: data address of the picture that fills it.
        step_m: between grid lines.
        hottest: person-seconds in the fullest cell, and the place of its middle, metres.
        person_hours: of all cells.
    """

    left_m: float
    right_m: float
    bottom_m: float
    top_m: float
    image: str
    step_m: float
    hottest: tuple[float, float, float]
    person_hours: float

    def grid_x(self) -> list[float]:
        """Return where vertical lines are."""
        return _lines(self.left_m, self.right_m, self.step_m)

    def grid_y(self) -> list[float]:
        """Return where horizontal lines are."""
        return _lines(self.bottom_m, self.top_m, self.step_m)


def heat_plan(heat: HeatMap) -> Optional[HeatPlan]:
    """Lay a heat map out, or return None where nobody was."""
    cells = heat.person_s
    if cells.size == 0 or not cells.any():
        return None
    x_m, y_m = (heat.x_m + heat.cell_m * np.arange(cells.shape[1]), heat.y_m + heat.cell_m * np.arange(cells.shape[0]))
    columns, rows = np.abs(x_m) <= _FARTHEST_M, np.abs(y_m) <= _FARTHEST_M
    cells, x_m, y_m = cells[rows][:, columns], x_m[columns], y_m[rows]
    if cells.size == 0 or not cells.any():
        return None
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    half = heat.cell_m / 2
    left, right = float(x_m[0]), float(x_m[-1]) + heat.cell_m
    bottom, top = float(y_m[0]), float(y_m[-1]) + heat.cell_m
    return HeatPlan(
        left,
        right,
        bottom,
        top,
        image=f"data:image/png;base64,{base64.b64encode(heat_png(cells)).decode('ascii')}",
        step_m=next((step for step in _STEPS_M if max(right - left, top - bottom) / step <= 12), 100.0),
        hottest=(float(cells[row, column]), float(x_m[column] + half), float(y_m[row] + half)),
        person_hours=float(cells.sum()) / 3600,
    )


def _lines(low: float, high: float, step: float) -> list[float]:
    return [float(one) for one in np.arange(np.ceil(low / step) * step, high + 1e-9, step)]

"""What history consists of: events, figures of a minute, notices. Times are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from edge_app.records import FloatArray

# Side of a heat-map cell, metres.
CELL_M = 0.5
# Side of the square that a heat map shows at most, metres.
_LARGEST_PLACE_M = 400.0
_CELL = np.dtype([("x", "<i2"), ("y", "<i2"), ("person_s", "<f4")])


@dataclass(frozen=True)
class StoredEvent:
    """A violation event on the clock.

    Attributes:
        uid: unlike that of any other event of any device, for ever.
        camera: its name.
        start_utc_s, end_utc_s: first and last moment under the threshold.
        duration_s: by frame time, so that a step of the clock does not change it.
        id_a, id_b: track ids; they start over with each run.
        min_distance_m, mean_distance_m: over the frames in violation.
        same_group: whether the two walk together; None where that was not determined.
    """

    uid: str
    camera: str
    start_utc_s: float
    end_utc_s: float
    duration_s: float
    id_a: int
    id_b: int
    min_distance_m: float
    mean_distance_m: float
    same_group: Optional[bool] = None


@dataclass(frozen=True)
class MinuteAggregate:
    """Figures on one camera and one minute of the clock, or on the part of it that was watched.

    What needs metres is None where the camera had no calibration that holds: it was not measured, which is not 0.

    Attributes:
        uid: of this part; a minute has several parts after a restart or a step of the clock.
        camera: its name.
        minute_utc_s: start of the minute.
        watched_s: seconds of frame time that the figures are about.
        people: how many different ones were seen.
        violating_people, violating_pairs: how many different people and pairs were too close; None without metres.
        person_s: people in the region times seconds; None with a region and without metres.
        exposed_person_s, violating_pair_s: people and pairs too close, times seconds; None without metres.
        occupancy_max: most people in the region at once; None with a region and without metres.
        density_per_m2: mean; None without a region or metres.
        passed_in, passed_out: passages of the line; None without one or metres.
        heat: cell (x, y), of ``CELL_M``, cell (0, 0) starts at 0 m, to person-seconds in it; empty without metres.
    """

    uid: str
    camera: str
    minute_utc_s: int
    watched_s: float
    people: int
    violating_people: Optional[int]
    violating_pairs: Optional[int]
    person_s: Optional[float]
    exposed_person_s: Optional[float]
    violating_pair_s: Optional[float]
    occupancy_max: Optional[int]
    density_per_m2: Optional[float] = None
    passed_in: Optional[int] = None
    passed_out: Optional[int] = None
    heat: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def occupancy_mean(self) -> Optional[float]:
        """People in the region on average over the time watched; None where that was not measured."""
        return mean_over(self.person_s, self.watched_s)


@dataclass(frozen=True)
class StoredAlert:
    """An alert, or its recovery.

    Attributes:
        uid: of this row.
        alert: the same for an alert and its recovery.
        rule, kind: name and kind of the rule.
        camera: its name; empty for the device as a whole.
        state: ``firing`` or ``recovered``.
        sentence: for a person.
        utc_s: when.
    """

    uid: str
    alert: str
    rule: str
    kind: str
    camera: str
    state: str
    sentence: str
    utc_s: float


@dataclass(frozen=True)
class Bucket:
    """Figures over a stretch of time, for a chart.

    Attributes:
        start_utc_s: its start.
        watched_s: seconds that were watched, all cameras together.
        events: violation events that started in it.
        occupancy_mean, occupancy_max, density_per_m2, person_s, exposed_person_s, violating_pair_s, passed_in,
            passed_out: as in ``MinuteAggregate``, means weighted by the time that they were measured; None where
            nothing was.
        counted_s: seconds of those watched that ``occupancy_mean``, ``occupancy_max`` and ``person_s`` are about.
        measured_s: seconds of those watched that ``exposed_person_s`` and ``violating_pair_s`` are about: with metres.
    """

    start_utc_s: int
    watched_s: float
    events: int
    occupancy_mean: Optional[float]
    occupancy_max: Optional[int]
    density_per_m2: Optional[float]
    person_s: Optional[float]
    exposed_person_s: Optional[float]
    violating_pair_s: Optional[float]
    passed_in: Optional[int]
    passed_out: Optional[int]
    counted_s: float
    measured_s: float

    @property
    def exposed_mean(self) -> Optional[float]:
        """People who were too close on average over the time with metres; None where there was none."""
        return mean_over(self.exposed_person_s, self.measured_s)


@dataclass(frozen=True)
class HeatMap:
    """Where people spend their time.

    Attributes:
        cell_m: side of a cell.
        x_m, y_m: ground position of the outer corner of cell (0, 0).
        person_s: (rows, columns) person-seconds; rows along y, columns along x.
    """

    cell_m: float
    x_m: float
    y_m: float
    person_s: FloatArray


def mean_over(person_s: Optional[float], seconds: float) -> Optional[float]:
    """Return people on average over ``seconds``; None where person-seconds were not measured, or for no time."""
    return None if person_s is None or seconds <= 0 else person_s / seconds


def pack_heat(heat: dict[tuple[int, int], float]) -> bytes:
    """Write cells as little-endian records of int16 x, int16 y and float32 person-seconds."""
    return np.array([(x, y, seconds) for (x, y), seconds in sorted(heat.items())], _CELL).tobytes()


def unpack_heat(packed: bytes) -> dict[tuple[int, int], float]:
    """Read what ``pack_heat`` wrote."""
    cells = np.frombuffer(packed, _CELL)
    return dict(zip(zip(cells["x"].tolist(), cells["y"].tolist()), cells["person_s"].tolist()))


def sum_heat(packed: list[bytes]) -> bytes:
    """Add packed cells up: each cell is there once in what is returned."""
    cells = np.frombuffer(b"".join(packed), _CELL)
    # Both as one number: sorting pairs is many times slower.
    places, first, which = np.unique(
        cells["x"].astype(np.int64) * 65536 + cells["y"], return_index=True, return_inverse=True
    )
    summed = cells[first].copy()
    summed["person_s"] = np.bincount(which.ravel(), cells["person_s"], len(places))
    return summed.tobytes()


def heat_map(packed: list[bytes]) -> HeatMap:
    """Sum up packed cells; those far from all others, which a wrong calibration once gave, are left out."""
    cells = np.frombuffer(b"".join(packed), _CELL)
    if len(cells) == 0:
        return HeatMap(CELL_M, 0.0, 0.0, np.zeros((0, 0)))
    for axis in ("x", "y"):
        middle = np.quantile(cells[axis], 0.5, method="nearest").astype(np.int64)
        cells = cells[np.abs(cells[axis] - middle) <= _LARGEST_PLACE_M / 2 / CELL_M]
    x, y = cells["x"].astype(np.int64), cells["y"].astype(np.int64)
    left, low = int(x.min()), int(y.min())
    columns, rows = int(x.max()) - left + 1, int(y.max()) - low + 1
    seconds = cells["person_s"].astype(np.float64)
    summed: FloatArray = np.bincount((y - low) * columns + (x - left), seconds, rows * columns).astype(np.float64)
    return HeatMap(CELL_M, left * CELL_M, low * CELL_M, summed.reshape(rows, columns))

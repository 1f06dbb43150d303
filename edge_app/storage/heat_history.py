"""Heat maps of long stretches of time: each hour that is over is read once and summed up."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Optional

from edge_app.storage.rows import HeatMap, heat_map, sum_heat
from edge_app.storage.store import HourStamp, Store, TimeRange

HOUR_S = 3600
# A quarter of a year of one camera; a sum takes a few kilobytes.
_MOST_HOURS = 2200


class HeatHistory:
    """Heat maps of a store; safe for many threads.

    An hour's sum is used again as long as the hour has the same rows and none of them is still being written, so a map
    is always that of the database.

    Attributes:
        store: the history.
        hours_read: hours that were read and summed up so far.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.hours_read = 0
        self._lock = threading.Lock()
        self._sums: OrderedDict[tuple[Optional[str], int], tuple[HourStamp, bytes]] = OrderedDict()

    def of(self, within: TimeRange) -> HeatMap:
        """Return where people spent their time; the same as ``Store.heat_map``."""
        stamps = self.store.finished_hours(within)
        first, last = _whole_hours(within, stamps)
        whole = {hour: stamp for hour, stamp in stamps.items() if first <= hour < last}
        packed = self._sums_of(within.camera, whole)
        # What is left: parts of hours at both ends, and hours in which something is still being written.
        for stretch in _gaps(within, sorted(whole)):
            packed += self.store.heat_cells(stretch)
        return heat_map(packed)

    def _sums_of(self, camera: Optional[str], hours: dict[int, HourStamp]) -> list[bytes]:
        """Return the sum of each hour; those that are new or have changed are read, in one go."""
        with self._lock:
            known = {hour: self._sums.get((camera, hour)) for hour in hours}
        sums = {hour: one[1] for hour, one in known.items() if one is not None and one[0] == hours[hour]}
        wanted = sorted(hours.keys() - sums.keys())
        if wanted:
            cells = self.store.heat_cells_by_hour(TimeRange(wanted[0], wanted[-1] + HOUR_S, camera))
            read = {hour: sum_heat(cells.get(hour, [])) for hour in wanted}
            self._remember(camera, {hour: (hours[hour], summed) for hour, summed in read.items()})
            sums |= read
        return list(sums.values())

    def _remember(self, camera: Optional[str], sums: dict[int, tuple[HourStamp, bytes]]) -> None:
        with self._lock:
            self.hours_read += len(sums)
            for hour, stamped in sums.items():
                self._sums[camera, hour] = stamped
            while len(self._sums) > _MOST_HOURS:
                self._sums.popitem(last=False)


def _whole_hours(within: TimeRange, stamps: dict[int, HourStamp]) -> tuple[int, int]:
    """Return start of the first hour that lies wholly in a range, and of the first one after it that does not."""
    if not stamps:
        return 0, 0
    start_s, end_s = within.start_utc_s, within.end_utc_s
    first = min(stamps) if start_s is None else math.ceil(start_s / HOUR_S) * HOUR_S
    last = max(stamps) + HOUR_S if end_s is None else math.floor(end_s / HOUR_S) * HOUR_S
    return first, last


def _gaps(within: TimeRange, hours: list[int]) -> list[TimeRange]:
    """Return the stretches of a range that these hours, ascending, leave out."""
    gaps, start_s = [], within.start_utc_s
    for hour in hours:
        if start_s is None or start_s < hour:
            gaps.append(replace(within, start_utc_s=start_s, end_utc_s=float(hour)))
        start_s = float(hour + HOUR_S)
    if within.end_utc_s is None or start_s is None or start_s < within.end_utc_s:
        gaps.append(replace(within, start_utc_s=start_s))
    return gaps

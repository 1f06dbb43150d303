from __future__ import annotations

import numpy as np
import pytest

from edge_app.storage import TimeRange
from edge_app.storage.heat_history import HeatHistory
from edge_app.storage.rows import pack_heat, sum_heat, unpack_heat
from edge_app.storage.schema import open_for_writing
from edge_app.storage.statements import put_minute
from tests.edge_app.storage.made import NOON, minute


@pytest.fixture
def write(store):
    connection = open_for_writing(store.path)
    yield lambda statement: connection.execute(statement.sql, statement.parameters)
    connection.close()


@pytest.fixture
def history(store, write):
    """Six hours of two cameras, the third hour without anybody; each minute has cells of its own."""
    random = np.random.default_rng(0)
    for number in [*range(0, 120), *range(180, 360)]:
        heat = {(int(x), int(y)): float(seconds) for x, y, seconds in random.integers(1, 20, (5, 3))}
        camera = "door" if number % 2 else "yard"
        write(put_minute(minute(number, camera=camera, start=int(NOON) + 60 * number, heat=heat), True))
    return HeatHistory(store)


RANGES = [
    TimeRange(), TimeRange(camera="door"), TimeRange(NOON + 100, NOON + 5.5 * 3600), TimeRange(NOON + 7200, None),
    TimeRange(None, NOON + 3600, "yard"), TimeRange(NOON + 600, NOON + 1200), TimeRange(NOON - 9000, NOON - 3600),
    TimeRange(NOON + 60.5, NOON + 4 * 3600 + 0.5),
]  # fmt: skip


@pytest.mark.parametrize("within", RANGES)
def test_a_map_is_the_same_as_one_made_from_all_rows(history, within):
    for _ in range(2):
        found, expected = history.of(within), history.store.heat_map(within)
        assert (found.cell_m, found.x_m, found.y_m) == (expected.cell_m, expected.x_m, expected.y_m)
        np.testing.assert_allclose(found.person_s, expected.person_s)


def test_an_hour_that_is_over_is_read_once_until_its_rows_change(history, write):
    history.of(TimeRange(NOON + 100, NOON + 6 * 3600))
    assert history.hours_read == 4
    history.of(TimeRange(NOON + 160, NOON + 6 * 3600))
    assert history.hours_read == 4
    # A clock that was set back brings another part of an old minute.
    write(put_minute(minute(999, start=int(NOON) + 4000, heat={(3, 3): 500.0}), True))
    late = history.of(TimeRange(NOON + 100, NOON + 6 * 3600))
    assert history.hours_read == 5
    assert late.person_s.max() > 500


def test_a_minute_that_is_still_written_is_always_read_anew(history, write):
    for seconds in (10.0, 20.0):
        write(put_minute(minute(999, start=int(NOON) + 4000, heat={(50, 50): seconds}), False))
        assert history.of(TimeRange()).person_s[-1, -1] == seconds


def test_packed_cells_are_summed_up():
    packed = [pack_heat({(1, -2): 3.0, (0, 0): 1.0}), pack_heat({(1, -2): 4.0})]
    assert unpack_heat(sum_heat(packed)) == {(0, 0): 1.0, (1, -2): 7.0}
    assert sum_heat([]) == b""

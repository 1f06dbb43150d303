from __future__ import annotations

import pytest

from edge_app.counted import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_one_is_named_otherwise_than_none_and_several(count, text):
    assert counted(count, "row", "rows") == text

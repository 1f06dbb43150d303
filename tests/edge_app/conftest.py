from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_state_at_home(tmp_path_factory, monkeypatch):
    """Keep what a program stores by default out of the home of whoever runs the tests."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))

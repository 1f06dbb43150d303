from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _state_of_its_own(tmp_path_factory):
    """No test sees the models that are installed on this machine, and none changes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_APP_STATE", str(tmp_path_factory.mktemp("state")))
        yield

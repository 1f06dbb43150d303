from __future__ import annotations

import itertools

import pytest

from edge_app.web.security import accounts as accounts_module
from tests.edge_app.web.served import PASSWORD, Dashboard


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """Scrypt with little work: the tests log in often."""
    monkeypatch.setattr(accounts_module, "_METHOD", "scrypt:256:8:1")


@pytest.fixture
def dashboard(tmp_path):
    """Make dashboards and close them in the end."""
    opened, number = [], itertools.count()

    def make(*args, **kwargs):
        folder = tmp_path / f"site{next(number)}"
        folder.mkdir()
        opened.append(Dashboard(folder, *args, **kwargs))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def beyond(dashboard):
    """A dashboard that others can reach, with an admin and a viewer."""
    page = dashboard(host="0.0.0.0", allow_plain_http="true")
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    page.site.security.accounts.set_password("guest", PASSWORD, "viewer")
    return page

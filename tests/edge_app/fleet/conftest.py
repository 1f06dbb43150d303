from __future__ import annotations

import pytest

from tests.edge_app.delivery.broker import Broker
from tests.edge_app.fleet.postgres import Postgres


@pytest.fixture(scope="module")
def postgres():
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: fleet)")
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def broker(tmp_path):
    running = Broker(tmp_path / "broker", "allow_anonymous true", "max_inflight_messages 1000")
    running.start()
    yield running
    running.kill()

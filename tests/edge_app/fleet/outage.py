"""Simulated devices against a real broker, receiver and database, of which each fails for a while.

``python -m tests.edge_app.fleet.outage [--devices 200] [--seconds 120] [--events-per-s 0.5] [--outage-s 20]``
prints rate, delay and loss, once without and once with outages: broker killed, database crashed, receiver stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from edge_app.delivery.config import MqttConfig
from edge_app.fleet.ingest import FleetIngest, IngestOptions
from edge_app.fleet.simulate import Simulation, simulate
from tests.edge_app.delivery.broker import Broker
from tests.edge_app.fleet.postgres import Postgres


class Site:
    """Broker, database and receiver of a fleet."""

    def __init__(self, broker: Broker, postgres: Postgres) -> None:
        self.broker, self.postgres = broker, postgres
        self._options = IngestOptions("127.0.0.1", broker.port, postgres.url, prefix="edge")
        self.doubled = 0
        self.ingest = self._start_ingest()

    def simulate(self, devices: int, seconds: float, events_per_s: float, repeat_s: float) -> dict[str, Any]:
        """Run the devices to their end."""
        mqtt = MqttConfig(host="127.0.0.1", port=self.broker.port, prefix="edge")
        processes = 2 if devices > 20 else 1
        return simulate(Simulation(devices, seconds, events_per_s, 180.0, processes, mqtt, self.postgres.url, repeat_s))

    def fail_in_turn(self, first_s: float, outage_s: float) -> None:
        """Let the broker, the database and the receiver each be away for ``outage_s``, with as long between."""
        time.sleep(first_s)
        self.broker.kill()
        time.sleep(outage_s)
        self.broker.start()
        time.sleep(outage_s)
        self.postgres.crash()
        time.sleep(outage_s)
        self.postgres.start()
        time.sleep(outage_s)
        self.stop()
        time.sleep(outage_s)
        self.ingest = self._start_ingest()

    def stop(self) -> None:
        """Stop the receiver."""
        self.ingest.stop()
        self.doubled += self.ingest.doubled

    def _start_ingest(self) -> FleetIngest:
        made = FleetIngest(self._options)
        made.start()
        return made


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--events-per-s", type=float, default=0.5)
    parser.add_argument("--outage-s", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker, postgres = Broker(Path(folder), "allow_anonymous true", "max_inflight_messages 1000"), Postgres()
        broker.start()
        postgres.start()
        site = Site(broker, postgres)
        try:
            steady = site.simulate(options.devices, options.seconds / 2, options.events_per_s, 30.0)
            print(json.dumps({"without outages": {**steady, "came_again": site.ingest.doubled}}, indent=2), flush=True)
            failing = threading.Thread(target=site.fail_in_turn, args=(5.0, options.outage_s))
            failing.start()
            stormy = site.simulate(options.devices, options.seconds, options.events_per_s, 30.0)
            failing.join()
            site.stop()
            print(json.dumps({"with outages": {**stormy, "came_again": site.doubled}}, indent=2))
        finally:
            postgres.remove()
            broker.kill()


if __name__ == "__main__":
    main()

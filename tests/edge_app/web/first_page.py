"""How large the first page is and how soon it is there, in a real browser with an empty cache.

``python -m tests.edge_app.web.first_page [--rounds 10]`` serves a running fake camera and prints medians as JSON: bytes
over the wire without the pictures of the stream, milliseconds until it is drawn, until it is complete, and until the
first live numbers are on it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.edge_app.test_live import wait_until
from tests.edge_app.web.chromium import open_chromium
from tests.edge_app.web.served import Dashboard

_FIGURES = """
const page = performance.getEntriesByType('navigation')[0];
const parts = performance.getEntriesByType('resource').filter((one) => !/live.mjpg|stream/.test(one.name));
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return {bytes: page.transferSize + parts.reduce((sum, part) => sum + part.transferSize, 0), requests: parts.length + 1,
  drawn_ms: paint ? paint.startTime : null, complete_ms: page.domContentLoadedEventEnd};
"""
_NUMBERS = "return document.getElementById('people')?.textContent === '2' ? performance.now() : null"


def load(driver: Any, address: str) -> dict[str, float]:
    """Open the page with an empty cache and return its figures."""
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    driver.get(address)
    wait_until(lambda: driver.execute_script(_NUMBERS) is not None, 30.0)
    numbers_ms = driver.execute_script(_NUMBERS)
    wait_until(lambda: driver.execute_script(_FIGURES)["drawn_ms"] is not None, 30.0)
    return {**driver.execute_script(_FIGURES), "numbers_ms": numbers_ms}


def measure(driver: Any, address: str, rounds: int) -> dict[str, float]:
    """Load the page again and again; return the medians."""
    load(driver, address)  # the browser's own start
    found = [load(driver, address) for _ in range(rounds)]
    return {name: round(statistics.median(one[name] for one in found)) for name in found[0]}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site").mkdir()
        page = Dashboard(Path(folder) / "site")
        driver = open_chromium(Path(folder) / "profile")
        try:
            wait_until(lambda: page.runner.state.latest() is not None)
            page.place  # noqa: B018 - begins to serve
            figures = measure(driver, page.server.address, rounds)
            print(json.dumps({**figures, "rounds": rounds, "load_1_min": round(os.getloadavg()[0], 1)}))
        finally:
            driver.quit()
            page.close()


if __name__ == "__main__":
    main()

"""Pictures of every page, wide and light, and as on a phone in the dark; those of the documentation among them.

``python -m tests.edge_app.web.screenshots FOLDER`` runs the sample clip live with the released model, beside a history
of made-up figures, and writes ``PAGE.png`` and ``PAGE-phone.png``. ``--docs`` also renews the pictures in ``docs/``.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_app.calibration import load_camera
from edge_app.config import load_config
from edge_app.live.run import LiveSystem
from edge_app.sinks import StatusNotice
from edge_app.storage.rows import MinuteAggregate, StoredAlert, StoredEvent
from edge_app.storage.statements import add_alert, add_event, add_notice, put_minute
from edge_app.storage.store import Store
from edge_app.web.server import DashboardServer
from edge_app.web.settings import Settings
from edge_app.web.site import CameraView
from tests.edge_app.web.chromium import open_chromium
from tests.edge_app.web.history import put_all

REPOSITORY = Path(__file__).resolve().parents[3]
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
_PAGES = {
    "live": "/", "history": "/history?span=day", "event": "/events/made-3", "system": "/system",
    "settings": "/settings", "calibration": "/settings/calibration", "places": "/settings/places",
}  # fmt: skip
# Page, whether of the phone, file in docs/.
_DOCS = (
    ("live", False, "dashboard.png"), ("history", False, "dashboard-history.png"),
    ("live", True, "dashboard-phone.jpg"), ("calibration", False, "dashboard-calibration.jpg"),
    ("places", False, "dashboard-places.jpg"), ("system", False, "dashboard-system.png"),
)  # fmt: skip
# Where the ground points of the calibration's picture are, metres.
_POINTS_M = ((-11.0, -8.0), (-4.0, -9.0), (-3.0, -2.0), (-10.0, 1.0), (-7.0, -5.0))
_REGION_M = ((-12.0, -9.0), (-4.0, -10.0), (-3.0, -2.0), (-10.0, 0.0))


def make_history(store: Store) -> None:
    """Fill a day with made-up figures: few people at night, many at noon."""
    random = np.random.default_rng(7)
    now = int(time.time()) // 60 * 60
    minutes, events = [], []
    for number in range(24 * 60):
        start = now - 60 * (number + 1)
        busy = max(0.0, np.sin((time.localtime(start).tm_hour + random.normal(0, 0.3) - 6) / 16 * np.pi)) * 6
        people = int(random.poisson(busy * 60))
        exposed = people * random.uniform(0.05, 0.2)
        spots = random.normal((-7.0, -5.0), (2.5, 2.0), (12, 2)) * 2
        heat = {(int(x), int(y)): people / 12.0 for x, y in spots} if people else {}
        minutes.append(
            MinuteAggregate(f"made-m{number}", "camera", start, 60.0, people // 12, people // 40, people // 60,
                            float(people), exposed, exposed / 2, people // 45 + (people > 0), heat=heat)
        )  # fmt: skip
        for _ in range(random.poisson(busy / 14)):
            seconds, nearest = 1 + random.exponential(5.0), random.uniform(0.5, 1.7)
            events.append(
                StoredEvent(f"made-{len(events)}", "camera", start + 10.0, start + 10.0 + seconds, seconds,
                            int(random.integers(1, 90)), int(random.integers(90, 180)), nearest, nearest + 0.2,
                            bool(random.integers(0, 2)))
            )  # fmt: skip
    notices = [
        add_notice("made-n1", StatusNotice("camera", "source", False, "no frame for 5 s; trying again", now - 4000.0)),
        add_notice("made-n2", StatusNotice("camera", "source", True, "the camera is live again", now - 3970.0)),
    ]
    alert = {"alert": "made-1", "rule": "too-long", "kind": "violation", "camera": "camera"}
    alerts = [
        add_alert(StoredAlert("made-a1", state="firing", utc_s=now - 900.0,
                              sentence="two people have been too close for 12 s at camera", **alert)),
        add_alert(StoredAlert("made-a2", state="recovered", utc_s=now - 870.0,
                              sentence="over: alert 'too-long' at camera", **alert)),
    ]  # fmt: skip
    put_all(store, [*map(add_event, events), *(put_minute(one, closed=True) for one in minutes), *notices, *alerts])


class Site:
    """The sample clip, live."""

    def __init__(self, folder: Path) -> None:
        path = folder / "site.yaml"
        path.write_text(
            f"source: {{uri: {REPOSITORY / 'edge_app/sample/pets_s2l1_excerpt.mp4'}, loop: true}}\n"
            f"calibration: {REPOSITORY / 'config/cameras/pets_view001.yaml'}\n"
            f"metrics: {{region_m: {[list(corner) for corner in _REGION_M]}}}\n"
            f"dashboard: {{port: 0, folder: {folder}}}\nstorage: {{folder: {folder}}}\n"
        )
        config = load_config(path)
        self.camera = load_camera(config.calibration) if config.calibration else None
        store = Store.open(config.storage.path)
        make_history(store)
        self.system = LiveSystem(config)
        views = {
            name: CameraView(name, runner, self.system.pipelines[name], config)
            for name, runner in self.system.runners.items()
        }
        self.server = DashboardServer(views, Settings(config, path), store, (), self.system.inference_in_use)
        self.system.start()
        self.server.start()

    def close(self) -> None:
        """Stop everything."""
        self.server.stop()
        self.system.stop()


def take(driver: Any, target: Path) -> None:
    """Write the whole page, not only what fits on the screen."""
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    shot = driver.execute_cdp_cmd(
        "Page.captureScreenshot",
        {
            "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, **{k: size[k] for k in ("width", "height")}, "scale": 1},
        },
    )
    target.write_bytes(base64.b64decode(shot["data"]))


def prepare(driver: Any, page: str, camera: Any) -> None:
    """Do on a page what a reader should see done."""
    deadline_s = time.monotonic() + 30
    wanted = {"live": "document.getElementById('people').textContent > '3'"}.get(page, "true")
    while not driver.execute_script(f"return Boolean({wanted})") and time.monotonic() < deadline_s:
        time.sleep(0.05)
    if page == "calibration":
        pixels = camera.ground_to_image(np.array(_POINTS_M))
        driver.execute_script(
            """const canvas = document.getElementById('picture'), box = canvas.getBoundingClientRect();
            for (const [x, y] of arguments[0]) for (const kind of ['pointerdown', 'pointerup'])
              canvas.dispatchEvent(new PointerEvent(kind, {pointerId: 1, bubbles: true,
                clientX: box.left + x * box.width / canvas.width, clientY: box.top + y * box.height / canvas.height}));
            document.querySelectorAll('#points tbody tr').forEach((row, number) =>
              row.querySelectorAll('input').forEach((field, axis) => {
                field.value = arguments[1][number][axis];
                field.dispatchEvent(new Event('input'));
              }));""",
            pixels.tolist(), _POINTS_M,
        )  # fmt: skip
        time.sleep(3.0)
    time.sleep(2.0)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--only", choices=[*_PAGES], action="append")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        site = Site(Path(work))
        try:
            for is_phone in (False, True):
                driver = open_chromium(Path(work) / f"profile{is_phone}", dark=is_phone)
                if is_phone:
                    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
                for page, path in _PAGES.items():
                    if page in (options.only or _PAGES):
                        driver.get(site.server.address.rstrip("/") + path)
                        prepare(driver, page, site.camera)
                        take(driver, options.folder / f"{page}{'-phone' if is_phone else ''}.png")
                driver.quit()
        finally:
            site.close()
    if options.docs:
        _renew_docs(options.folder)


def _renew_docs(folder: Path) -> None:
    for page, is_phone, name in _DOCS:
        source, target = folder / f"{page}{'-phone' if is_phone else ''}.png", REPOSITORY / "docs" / name
        if target.suffix == ".png":
            shutil.copy(source, target)
        else:
            cv2.imwrite(str(target), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()

"""Dashboards for tests: a fake camera behind the real application, in process or on a real port."""

from __future__ import annotations

import http.client
import re
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from edge_app.accelerator.in_use import InferenceInUse
from edge_app.calibration import load_camera
from edge_app.config import Config, load_config
from edge_app.live import LiveRunner
from edge_app.storage.store import Store
from edge_app.web.app import create_app
from edge_app.web.server import DashboardServer
from edge_app.web.settings import Settings
from edge_app.web.site import CameraView
from tests.edge_app.test_live import FakePipeline, FakeSource

PASSWORD = "correct horse battery"
IN_USE = InferenceInUse("CPU", "2 threads", "ai_edge_litert 2.1", "stands in for the Edge TPU (usb:0)", "unplugged", 1)


class ReconfigurablePipeline(FakePipeline):
    """Remembers what it was told to take over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config: Optional[Config] = None

    def reconfigure(self, config):
        self.config = config
        if config.calibration is not None:
            self.camera = load_camera(config.calibration)


class Dashboard:
    """A dashboard on a free port with one fake camera that runs.

    Attributes:
        folder: of configuration, accounts and audit log.
        server, runner, pipeline: its parts.
    """

    def __init__(
        self,
        folder: Path,
        source=None,
        pipeline=None,
        cameras=("camera",),
        yaml="",
        sinks=(),
        ways_out=lambda: [],
        **dashboard: Any,
    ):
        self.folder = folder
        keys = {"port": 0, "max_fps": 50, "folder": str(folder), **dashboard}
        lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
        self.config_path = folder / "site.yaml"
        self.config_path.write_text(f"# our site\ndashboard:\n{lines}{yaml}")
        config = load_config(self.config_path)
        self.pipelines = [pipeline or ReconfigurablePipeline() if i == 0 else ReconfigurablePipeline()
                          for i in range(len(cameras))]  # fmt: skip
        self.pipeline = self.pipelines[0]
        self.runners = [
            LiveRunner(source if source and i == 0 else FakeSource(), one, camera_name=cameras[i], sinks=sinks)
            for i, one in enumerate(self.pipelines)
        ]
        self.runner = self.runners[0]
        views = {
            name: CameraView(name, runner, one, config)
            for name, runner, one in zip(cameras, self.runners, self.pipelines)
        }
        self.store = Store.open(folder / "history.sqlite")
        settings = Settings(config, self.config_path)
        self.server = DashboardServer(views, settings, self.store, (), lambda: IN_USE, ways_out)
        self.site = self.server.site
        self.picture = self.site.camera(None).picture
        for runner in self.runners:
            runner.start()
        self._serving = False

    @property
    def place(self):
        """Where it is; asking for it makes it serve."""
        if not self._serving:
            self.server.start()
            self._serving = True
        return urlsplit(self.server.address)

    def get(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=20)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def open_stream(self, path):
        connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=20)
        connection.request("GET", path)
        return connection, connection.getresponse()

    def browser(self) -> Browser:
        """Return a client without a network that keeps cookies."""
        return Browser(self)

    def close(self):
        self.server.stop()
        for runner in self.runners:
            runner.stop()


class Browser:
    """Werkzeug's test client with what a browser does: it keeps cookies and sends the page's CSRF token."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.client = create_app(dashboard.site).test_client()

    def get(self, path, **kwargs):
        return self.client.get(path, **kwargs)

    def token(self, page="/login"):
        html = self.client.get(page).get_data(as_text=True)
        found = re.search(r'name="csrf_token" value="([0-9a-f]+)"|name="csrf-token" content="([0-9a-f]+)"', html)
        assert found, html
        return found[1] or found[2]

    def log_in(self, name="admin", password=PASSWORD, **kwargs):
        data = {"name": name, "password": password, "csrf_token": self.token(), "next": "/"}
        return self.client.post("/login", data=data, **kwargs)

    def send(self, method, path, json, token=None):
        """Send JSON with the session's CSRF token."""
        token = token or self.client.get("/api/v1/session").get_json()["csrf_token"]
        return self.client.open(path, method=method, json=json, headers={"X-CSRF-Token": token})

    def cookie(self):
        found = self.client.get_cookie("edge_session")
        return found.value if found else None


def form(**fields: str) -> dict[str, Any]:
    """Return the parts of a form request for ``Dashboard.get``."""
    return {"method": "POST", "body": urlencode(fields),
            "headers": {"Content-Type": "application/x-www-form-urlencoded"}}  # fmt: skip

"""Serves the dashboard with waitress, on this machine only."""

from __future__ import annotations

import threading
from typing import Any, Optional

from flask import Blueprint
from waitress.server import create_server

from edge_app.calibration import CameraModel
from edge_app.config import Config
from edge_app.errors import UserError
from edge_app.live import LiveRunner
from edge_app.render import BirdsEye
from edge_app.web.app import MAX_STREAMS, create_app, is_loopback
from edge_app.web.picture import LivePicture

# Every stream holds a thread; the rest answers pages and the API.
_THREADS = MAX_STREAMS + 8
# Unsent bytes at which a stalled viewer's own thread waits: two or three pictures.
_UNSENT_BYTES = 256 * 1024


class DashboardServer:
    """The dashboard in a thread of its own.

    Attributes:
        address: where to open it.
        picture: the live picture, for its counters.
    """

    def __init__(
        self,
        runner: LiveRunner,
        camera: Optional[CameraModel],
        image_size: tuple[int, int],
        config: Config,
        more_pages: Optional[Blueprint] = None,
    ) -> None:
        """Bind the address.

        Raises:
            UserError: the address is not a loopback one or can't be bound.
        """
        host, port = config.dashboard.host, config.dashboard.port
        if not is_loopback(host):
            raise UserError(
                f"the dashboard will not listen on {host}: beyond this machine it needs a password, which this version "
                "does not have; set dashboard.host to 127.0.0.1 and reach it through an SSH tunnel"
            )
        birdseye = BirdsEye(camera, image_size) if camera is not None else None
        privacy = config.privacy.people
        self.picture = LivePicture(runner.state, birdseye, privacy, config.dashboard.max_fps)
        self._stopping = threading.Event()
        app = create_app(runner, self.picture, birdseye, privacy != "show", self._stopping)
        if more_pages is not None:
            app.register_blueprint(more_pages)
        try:
            self._server: Any = create_server(
                app,
                host=host.strip("[]"),
                port=port,
                threads=_THREADS,
                outbuf_high_watermark=_UNSENT_BYTES,
                ident="",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise UserError(
                f"the dashboard cannot listen on {host} port {port} ({error.strerror}); give another --port"
            ) from error
        self._thread = threading.Thread(target=self._serve, name="dashboard", daemon=True)

    @property
    def address(self) -> str:
        """The dashboard's address."""
        host = self._server.effective_host
        host = f"[{host}]" if ":" in str(host) else host
        return f"http://{host}:{self._server.effective_port}/"

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._server.run()
        except OSError:
            # Closing the server from another thread takes the sockets away under its loop; that is its end.
            if not self._stopping.is_set():
                raise

    def stop(self) -> None:
        """End all streams and close the server."""
        self._stopping.set()
        self._server.close()
        self._thread.join(2.0)

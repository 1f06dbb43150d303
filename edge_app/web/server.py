"""Serves the dashboard: waitress, or with an own certificate Cheroot."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from flask import Blueprint
from waitress.server import create_server

from edge_app.accelerator.in_use import InferenceInUse
from edge_app.delivery.post_office import WayOut
from edge_app.errors import UserError
from edge_app.storage.store import Store
from edge_app.web.app import MOST_BODY_BYTES, create_app
from edge_app.web.dashboard_config import DashboardConfig
from edge_app.web.security.security import Security, check_encrypted
from edge_app.web.settings import Settings
from edge_app.web.site import CameraView, Site
from edge_app.web.state_folder import dashboard_folder
from edge_app.web.streams import MAX_STREAMS
from edge_app.web.tls_server import check_pair, make_tls_server

# Every stream holds a thread; the rest answers pages and the API.
_THREADS = MAX_STREAMS + 8
# Unsent bytes at which a stalled viewer's own thread waits: two or three pictures.
_UNSENT_BYTES = 256 * 1024
_STOP_S = 1.0


def check_dashboard(config: DashboardConfig) -> None:
    """Check what can be known without listening.

    Raises:
        UserError: the address would not be safe, or the certificate can't be used.
    """
    check_encrypted(config)
    if config.certificate is not None and config.certificate_key is not None:
        check_pair(config.certificate, config.certificate_key)


def check_free(config: DashboardConfig) -> None:
    """Check that nobody else listens on the address, before anything is made.

    Raises:
        UserError: somebody does.
    """
    host = config.host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, config.port))
        except OSError as error:
            # Whatever else is wrong with the address, the server itself says it.
            if error.errno == errno.EADDRINUSE:
                raise _cannot_listen(config, error) from error


def _cannot_listen(config: DashboardConfig, error: OSError) -> UserError:
    return UserError(
        f"the dashboard cannot listen on {config.host} port {config.port} ({error.strerror}); give another "
        "--port or --host"
    )


class DashboardServer:
    """The dashboard in a thread of its own.

    Attributes:
        address: where to open it.
        site: what it shows.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraView],
        settings: Settings,
        store: Optional[Store],
        more_pages: Sequence[Blueprint] = (),
        inference: Optional[Callable[[], InferenceInUse]] = None,
        ways_out: Callable[[], list[WayOut]] = lambda: [],
    ) -> None:
        """Bind the address.

        Args:
            cameras: by name; at least one.
            settings: the configuration in force.
            store: the history; None when nothing is kept.
            more_pages: guarded like the rest.
            inference: says what does the inferences now; None where nothing is known of it.
            ways_out: says how each way out of messages does.

        Raises:
            UserError: the address would not be safe, can't be bound, or the certificate can't be used.
        """
        config = settings.config.dashboard
        security = Security(config, dashboard_folder(settings.config))
        self.site = Site(cameras, settings, security, threading.Event(), store, inference, ways_out)
        app = create_app(self.site)
        for pages in more_pages:
            app.register_blueprint(pages)
        self._scheme = "http" if config.certificate is None else "https"
        try:
            self._server: Any = _plain_server(app, config) if config.certificate is None else _tls_server(app, config)
        except OSError as error:
            security.audit.close()
            raise _cannot_listen(config, error) from error
        self._thread = threading.Thread(target=self._serve, name="dashboard", daemon=True)

    @property
    def address(self) -> str:
        """The dashboard's address."""
        if self._scheme == "http":
            host, port = str(self._server.effective_host), self._server.effective_port
        else:
            host, port = str(self._server.bind_addr[0]), self._server.bind_addr[1]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def invitation(self) -> str:
        """What the console says: where the dashboard is, and how to set the first password where one is needed."""
        said = f"Dashboard: {self.address} (stop with Ctrl-C)"
        token = self.site.security.first_token
        if token is not None:
            said += f"\nNobody can log in yet: open it and set the admin's password with the token {token}"
        return said

    def start(self) -> None:
        """Serve in the background."""
        logging.getLogger().addHandler(self.site.log_tail)
        # It tells of every viewer who closes a page.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self._thread.start()

    def _serve(self) -> None:
        try:
            (self._server.run if self._scheme == "http" else self._server.serve)()
        except OSError:
            # Closing the server from another thread takes the sockets away under its loop; that is its end.
            if not self.site.stopping.is_set():
                raise

    def stop(self) -> None:
        """End all streams and close the server."""
        self.site.stopping.set()
        if self._scheme == "http":
            # Its threads first: they would write to what is closed. One that a stalled viewer holds is left alone.
            self._server.task_dispatcher.shutdown(timeout=_STOP_S)
            self._server.close()
        else:
            self._server.stop()
        if self._thread.is_alive():
            self._thread.join(2.0)
        logging.getLogger().removeHandler(self.site.log_tail)
        self.site.security.audit.close()


def _plain_server(app: Any, config: DashboardConfig) -> Any:
    proxy: dict[str, Any] = {}
    if config.behind_proxy:
        proxy = {"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"}}
    return create_server(
        app,
        host=config.host.strip("[]"),
        port=config.port,
        threads=_THREADS,
        outbuf_high_watermark=_UNSENT_BYTES,
        max_request_body_size=MOST_BODY_BYTES,
        max_request_header_size=32 * 1024,
        ident="",
        clear_untrusted_proxy_headers=True,
        **proxy,
    )


def _tls_server(app: Any, config: DashboardConfig) -> Any:
    assert config.certificate is not None and config.certificate_key is not None
    return make_tls_server(
        app, config.host.strip("[]"), config.port, config.certificate, config.certificate_key, threads=_THREADS,
        body_bytes=MOST_BODY_BYTES,
    )  # fmt: skip

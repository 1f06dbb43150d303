"""All that decides about access, made once from the configuration."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Optional

from edge_app.errors import UserError
from edge_app.web.dashboard_config import DashboardConfig
from edge_app.web.security.accounts import Accounts
from edge_app.web.security.audit import AuditLog
from edge_app.web.security.hosts import TrustedHosts, is_loopback
from edge_app.web.security.rate_limit import RateLimit
from edge_app.web.security.sessions import Sessions
from edge_app.web.security.throttle import Throttle


def check_encrypted(config: DashboardConfig) -> None:
    """Check that what leaves this machine is encrypted, or accepted not to be.

    Raises:
        UserError: the address is not a loopback one and neither HTTPS nor a waiver is configured.
    """
    if not is_loopback(config.host) and config.certificate is None and not config.allow_plain_http:
        raise UserError(
            f"the dashboard will not listen on {config.host} without encryption: set dashboard.certificate and "
            "dashboard.certificate_key, or keep to 127.0.0.1 behind a reverse proxy or an SSH tunnel, or accept "
            "the risk with dashboard.allow_plain_http"
        )


class Security:
    """Accounts, sessions and rules of one dashboard.

    Attributes:
        hosts: the host names that are answered.
        by_address, by_name: throttles of logins; the one by name is mild, so that nobody can lock an admin out.
        requests: how often an address of another machine may ask for anything.
        first_token: sets the first password; None once there is an account or none is needed.
    """

    def __init__(self, config: DashboardConfig, folder: Path) -> None:
        """Check that what is asked for is safe.

        Raises:
            UserError: the address is not a loopback one and neither HTTPS nor a waiver is configured, or the folder
                cannot be used.
        """
        check_encrypted(config)
        beyond = not is_loopback(config.host)
        self.accounts = Accounts(folder)
        self.sessions = Sessions(self.accounts)
        self.audit = AuditLog(folder)
        self.hosts = TrustedHosts(config.host, config.hosts)
        self.by_address = Throttle(free=5, longest_s=900.0)
        self.by_name = Throttle(free=20, longest_s=30.0)
        # A page asks for a handful of things at once; its live numbers and picture are one stream each.
        self.requests = RateLimit(burst=300, per_s=20.0)
        self._reached_from_elsewhere = beyond or config.behind_proxy or bool(config.hosts)
        wants_token = self._reached_from_elsewhere and not len(self.accounts)
        self._first_token = secrets.token_urlsafe(12) if wants_token else None

    def needs_login(self) -> bool:
        """Tell whether somebody has to log in: always, except on a machine of one's own where no account exists."""
        return self._reached_from_elsewhere or len(self.accounts) > 0

    @property
    def first_token(self) -> Optional[str]:
        """What the console shows once, so that who started the program can set the first password."""
        return self._first_token if not len(self.accounts) else None

"""Where the dashboard keeps accounts and audit log."""

from __future__ import annotations

import os
from pathlib import Path

from edge_app.config import Config


def dashboard_folder(config: Config) -> Path:
    """Return the configured folder, else the one for state that systemd gave, else the user's own by the XDG rules."""
    if config.dashboard.folder is not None:
        return config.dashboard.folder
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "edge-social-distancing"

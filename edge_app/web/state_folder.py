"""Where the dashboard keeps accounts and audit log."""

from __future__ import annotations

from pathlib import Path

from edge_app.config import Config


def dashboard_folder(config: Config) -> Path:
    """Return the configured folder, else that of the history."""
    return config.dashboard.folder or config.storage.path.parent

"""The ``storage`` section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from pydantic import Field

from edge_app.config_section import Section
from edge_app.state_folder import state_folder

FILE_NAME = "history.sqlite"


class StorageConfig(Section):
    """Where history is kept, for how long, and what must stay free on the disk. Numbers only, never pictures."""

    enabled: bool = Field(True, description="keep events, minute figures and notices; alerts and MQTT need it")
    folder: Optional[Path] = Field(
        None,
        description="folder of the database; default: $EDGE_APP_STATE, $STATE_DIRECTORY (systemd) or ~/.local/state",
    )
    keep_days: float = Field(90.0, gt=0, le=3650, description="older rows are deleted")
    max_mb: int = Field(512, ge=4, le=1_000_000, description="size of the database above which the oldest rows go")
    min_free_mb: int = Field(200, ge=0, le=1_000_000, description="writing pauses while less is free on the disk")
    commit_s: float = Field(0.5, gt=0, le=1.0, description="seconds between commits: at most so much is lost")
    queue: int = Field(20_000, ge=10, le=1_000_000, description="rows that wait for the disk; more are counted as lost")

    @property
    def path(self) -> Path:
        """The database file."""
        return (self.folder or state_folder()) / FILE_NAME

"""Where this application keeps what it must not forget: installed models, and whatever else has a state."""

from __future__ import annotations

import os
from pathlib import Path

from edge_app.errors import UserError


def state_folder() -> Path:
    """Return the folder for state: ``$EDGE_APP_STATE``, else systemd's ``$STATE_DIRECTORY``, else the user's own (XDG).

    It need not exist yet.

    Raises:
        UserError: none of them is set and the user has no home.
    """
    for name in ("EDGE_APP_STATE", "STATE_DIRECTORY"):
        # systemd separates several folders by colons.
        given = os.environ.get(name, "").split(":")[0]
        if given:
            return Path(given)
    base = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "edge-social-distancing"
    except RuntimeError as error:
        raise UserError("there is no home folder to keep state in; set EDGE_APP_STATE to a folder") from error

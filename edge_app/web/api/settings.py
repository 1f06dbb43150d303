"""The configuration: reading and changing it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from edge_app.config import config_schema
from edge_app.config_section import Section
from edge_app.masking import masked
from edge_app.web.api.operation import CameraQuery, Operations
from edge_app.web.changes import CHANGEABLE, as_change, check_hiding
from edge_app.web.security.access import visitor
from edge_app.web.security.guard import address
from edge_app.web.settings import Change, Outcome
from edge_app.web.site import Site


class SettingsChange(CameraQuery):
    """What to change: sections with the keys that change, as in the configuration file; null brings a default back.

    ``camera`` says whose ``source`` and ``metrics`` change where there are several.
    """

    changes: dict[str, dict[str, Any]] = Field(
        description=f"any of {', '.join(CHANGEABLE)}; see /config/schema for their keys"
    )


class Changed(Section):
    """What became of the change."""

    live: tuple[str, ...] = Field(description="in force now")
    needs_restart: tuple[str, ...] = Field(description="in force after the next start")


def add_settings(operations: Operations, site: Site) -> None:
    """Add the operations on the configuration."""

    @operations.add("GET", "/config", "The configuration in force, without secrets.", access="admins")
    def config() -> Any:
        return without_secrets(site.settings.config.model_dump(mode="json"))

    @operations.add("GET", "/config/schema", "JSON schema of the configuration file.")
    def schema() -> Any:
        return config_schema()

    @operations.add("PATCH", "/config", "Change the configuration: the file, and what runs where that is possible.",
                    body=SettingsChange, answer=Changed, problems=(404,), access="admins")  # fmt: skip
    def change_config(body: SettingsChange) -> Any:
        outcome = change_settings(site, as_change(body.changes, site.key_of(site.camera(body.camera))))
        return Changed(live=outcome.live, needs_restart=outcome.needs_restart)


def change_settings(site: Site, change: Change) -> Outcome:
    """Change settings, put them in force for every camera and say so in the audit log.

    Raises:
        UserError: see ``Settings.change``.
    """

    def apply(config: Any) -> None:
        for view in site.cameras.values():
            view.apply(config)

    outcome = site.settings.change(change, apply, check_hiding)
    said = {".".join(key): without_secrets(value) for key, value in change.items()}
    site.security.audit.write("settings changed", who=visitor().name, address=address(), change=said)
    return outcome


def without_secrets(value: Any) -> Any:
    """Return JSON values with the secrets in their texts masked, and of keys that hold one the whole value."""
    if isinstance(value, dict):
        return {key: _of_key(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _of_key(key: str, value: Any) -> Any:
    is_secret = any(word in key.lower() for word in ("password", "secret", "token")) and isinstance(value, str)
    return "****" if is_secret and value else without_secrets(value)

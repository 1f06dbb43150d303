"""Configuration section ``still_things``."""

from __future__ import annotations

from pydantic import Field

from edge_app.config_section import Section


class StillThingsConfig(Section):
    """What never moves is not a person."""

    enabled: bool = Field(
        True, description="leave out what is taken for a person but never moves nor changes (fixed cameras)"
    )
    after_s: float = Field(
        12.0,
        ge=2,
        le=3600,
        description="seconds without the slightest change after which something is a thing; sooner if it never moved",
    )

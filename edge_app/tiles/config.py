"""When and where the detector looks closer."""

from __future__ import annotations

from typing import Any, Literal, Optional

from pydantic import Field, field_validator

from edge_app.config_section import Section


class TilesConfig(Section):
    """Looking closer at far people, at the cost of one inference a tile."""

    mode: Optional[Literal["off", "auto", "on"]] = Field(
        None,
        description="on: all tiles in every frame; auto: as many as the time allows, those with people first; default: "
        "auto with a calibration that knows how tall people are in the picture, else off",
    )
    min_person_px: float = Field(
        64.0, gt=0, le=1000, description="tiles lie where a person would be shorter than this in the model's input"
    )
    max_tiles: int = Field(12, ge=1, le=64, description="tiles a picture at most; more would be needed: larger ones")
    budget_ms: float = Field(
        100.0, gt=0, le=10000, description="auto, run only: time for all inferences of one frame, milliseconds"
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _as_people_write_it(cls, value: Any) -> Any:
        """Take YAML's on and off, which it reads as yes and no, as the words that they are."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

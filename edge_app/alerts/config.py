"""The ``alerts`` section of the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Optional, Union
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from edge_app.config_section import Section
from edge_app.delivery.config import ReceiversConfig
from edge_app.sinks import NoticeKind

_NAME = r"^[A-Za-z0-9_-]{1,40}$"


def _minutes(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("must be a time such as 22:00")
    return text


TimeOfDay = Annotated[str, AfterValidator(_minutes)]


class _Rule(Section):
    """What all rules have in common."""

    name: str = Field(pattern=_NAME, description="short name: letters, digits, - and _; part of every message")
    cameras: Optional[tuple[str, ...]] = Field(None, min_length=1, description="only these cameras; all if none")
    cooldown_s: float = Field(300.0, ge=0, le=86400, description="after an alert, none of this rule for so long")
    clear_s: float = Field(5.0, ge=0, le=3600, description="well again only after so long without the reason")
    ignore_quiet_hours: bool = Field(False, description="tell in quiet hours as well")


class ViolationRule(_Rule):
    """Two people are too close for long."""

    kind: Literal["violation"]
    sustained_s: float = Field(10.0, ge=0, le=3600, description="seconds for which the same two are too close")
    groups: bool = Field(True, description="also when the two walk together")


class OccupancyRule(_Rule):
    """Too many people in the region, or in sight where there is none."""

    kind: Literal["occupancy"]
    above: int = Field(ge=0, le=100_000, description="alert when more people than this are there")
    sustained_s: float = Field(5.0, ge=0, le=3600, description="seconds for which there are too many")


class FaultRule(_Rule):
    """Something of the system is broken."""

    kind: Literal["fault"]
    about: tuple[NoticeKind, ...] = Field(
        ("source", "accelerator", "pipeline", "storage"), min_length=1, description="which parts"
    )
    sustained_s: float = Field(10.0, ge=0, le=3600, description="seconds for which it is broken")
    clear_s: float = Field(0.0, ge=0, le=3600, description="well again only after so long without the reason")


Rule = Annotated[Union[ViolationRule, OccupancyRule, FaultRule], Field(discriminator="kind")]


class QuietHours(Section):
    """Hours of every day in which nobody is told."""

    start: TimeOfDay = Field(description="first minute, such as 22:00")
    end: TimeOfDay = Field(description="first minute after them, such as 06:00")
    time_zone: str = Field("UTC", description="of these times, such as Europe/Berlin")

    @model_validator(mode="after")
    def _zone_exists(self) -> QuietHours:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"time_zone {self.time_zone!r} is not known; give one such as Europe/Berlin") from None
        return self


class AlertsConfig(Section):
    """Who is told what, and when."""

    rules: tuple[Rule, ...] = Field((), description="what makes an alert")
    quiet_hours: Optional[QuietHours] = Field(None, description="hours without alerts; what lasts is told after them")
    receivers: ReceiversConfig = Field(default_factory=ReceiversConfig)

    @model_validator(mode="after")
    def _different_names(self) -> AlertsConfig:
        names = [rule.name for rule in self.rules]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"two rules are named {sorted(doubled)[0]!r}; give each a name of its own")
        return self

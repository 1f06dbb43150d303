"""What is said to others, as JSON. ``python -m edge_app fleet schema`` prints the schema of all of it.

Every message has an ``id`` of its own for ever: whoever takes one twice knows it by that.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from edge_app.alerts.rules import Alert
from edge_app.delivery.config import MessageKind
from edge_app.sinks import StatusNotice
from edge_app.storage.rows import CELL_M, MinuteAggregate, StoredEvent

VERSION: Literal[1] = 1
# Of a message as it travels, UTF-8. A fleet's broker hangs up on whoever sends more.
LONGEST_BYTES = 256 * 1024
# Of an id and of a device's name, characters.
LONGEST_ID, LONGEST_DEVICE = 100, 64
# What cannot be of any length otherwise is cut, or told in several messages, so that a message stays below that.
_MOST_CELLS = 8000
_LONGEST_SENTENCE = 4000


class _Message(BaseModel):
    """What all messages have in common."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    version: Literal[1] = Field(VERSION, description="of this schema; a receiver refuses those that it does not know")
    id: str = Field(
        min_length=1, max_length=LONGEST_ID, description="never used twice; a second one is the same message again"
    )
    device: str = Field(min_length=1, max_length=LONGEST_DEVICE, description="name of the device")
    camera: str = Field(max_length=200, description="name of the camera; empty for the device as a whole")


class EventMessage(_Message):
    """Two people were too close for a while; sent once, when it is over."""

    kind: Literal["event"] = "event"
    start_utc_s: float = Field(description="first moment, seconds since 1970, UTC")
    end_utc_s: float = Field(description="last moment, seconds since 1970, UTC")
    duration_s: float = Field(ge=0, description="by frame time")
    id_a: int = Field(description="track id; starts over with each run")
    id_b: int = Field(description="track id; starts over with each run")
    min_distance_m: float = Field(ge=0)
    mean_distance_m: float = Field(ge=0)
    same_group: Optional[bool] = Field(None, description="the two walk together; null where not determined")


class MinuteMessage(_Message):
    """Figures of a minute that is over, or of the part of it that was watched; add the parts of a minute up.

    A figure that needs metres is null where the camera had no calibration that holds: it was not measured.
    """

    kind: Literal["minute"] = "minute"
    minute_utc_s: int = Field(description="start of the minute, seconds since 1970, UTC")
    watched_s: float = Field(ge=0, description="seconds of frame time that the figures are about")
    people: int = Field(ge=0, description="different people seen")
    violating_people: Optional[int] = Field(
        None, ge=0, description="different people who were too close; null without metres"
    )
    violating_pairs: Optional[int] = Field(
        None, ge=0, description="different pairs that were too close; null without metres"
    )
    person_s: Optional[float] = Field(
        None, ge=0, description="people in the region times seconds; null with a region and without metres"
    )
    exposed_person_s: Optional[float] = Field(
        None, ge=0, description="people too close times seconds; null without metres"
    )
    violating_pair_s: Optional[float] = Field(
        None, ge=0, description="pairs too close times seconds; null without metres"
    )
    occupancy_max: Optional[int] = Field(
        None, ge=0, description="most people in the region at once; null with a region and without metres"
    )
    density_per_m2: Optional[float] = Field(None, ge=0, description="mean; null without a region or metres")
    passed_in: Optional[int] = Field(None, ge=0, description="passages of the line; null without one or metres")
    passed_out: Optional[int] = Field(None, ge=0, description="passages of the line; null without one or metres")
    cell_m: float = Field(CELL_M, gt=0, description="side of a cell of the heat map, metres")
    heat: list[tuple[int, int, float]] = Field(
        description="x and y of a cell, and person-seconds in it; empty without metres"
    )


class NoticeMessage(_Message):
    """Something is broken, or is well again."""

    kind: Literal["notice"] = "notice"
    about: str = Field(description="source, accelerator, pipeline, calibration or storage")
    ok: bool = Field(description="true once it is well again")
    sentence: str = Field(description="for a person")
    utc_s: float = Field(description="seconds since 1970, UTC")


class AlertMessage(_Message):
    """Somebody is to be told."""

    kind: Literal["alert"] = "alert"
    alert: str = Field(description="the same for an alert and its recovery")
    rule: str = Field(description="name of the rule")
    about: str = Field(description="violation, occupancy or fault")
    state: Literal["firing", "recovered"]
    sentence: str = Field(description="for a person")
    utc_s: float = Field(description="seconds since 1970, UTC")


AnyMessage = Annotated[Union[EventMessage, MinuteMessage, NoticeMessage, AlertMessage], Field(discriminator="kind")]
_ANY: TypeAdapter[Any] = TypeAdapter(AnyMessage)


@dataclass(frozen=True)
class Message:
    """A message ready to be sent.

    Attributes:
        kind, camera, uid: of the message.
        payload: JSON.
    """

    kind: MessageKind
    camera: str
    uid: str
    payload: str


def event_message(device: str, event: StoredEvent) -> Message:
    """Say an event."""
    fields = {name: value for name, value in vars(event).items() if name not in ("uid", "seq")}
    return _message(EventMessage(id=event.uid, device=device, **fields))


def minute_messages(device: str, minute: MinuteAggregate) -> Iterator[Message]:
    """Say a minute, in several messages where its heat map is too long for one.

    The figures are in the first. The others are parts of the minute in which nothing but heat was measured, with ids
    that follow from the minute's own.
    """
    cells = sorted(minute.heat.items())
    yield minute_message(device, replace(minute, heat=dict(cells[:_MOST_CELLS])))
    for first in range(_MOST_CELLS, len(cells), _MOST_CELLS):
        yield minute_message(
            device,
            MinuteAggregate(
                f"{minute.uid}-heat{first // _MOST_CELLS}", minute.camera, minute.minute_utc_s, 0.0, 0,
                None, None, None, None, None, None, heat=dict(cells[first : first + _MOST_CELLS]),
            ),
        )  # fmt: skip


def minute_message(device: str, minute: MinuteAggregate) -> Message:
    """Say a minute whose heat map fits into one message."""
    fields = {name: value for name, value in vars(minute).items() if name not in ("uid", "heat")}
    heat = [(x, y, round(seconds, 3)) for (x, y), seconds in sorted(minute.heat.items())]
    return _message(MinuteMessage(id=minute.uid, device=device, heat=heat, **fields))


def notice_message(device: str, uid: str, notice: StatusNotice) -> Message:
    """Say a notice."""
    return _message(
        NoticeMessage(
            id=uid, device=device, camera=notice.camera, about=notice.kind, ok=notice.ok,
            sentence=_cut(notice.sentence), utc_s=notice.utc_s,
        )
    )  # fmt: skip


def alert_message(device: str, alert: Alert) -> Message:
    """Say an alert or its recovery."""
    return _message(
        AlertMessage(
            id=f"{alert.alert}-{alert.state}", device=device, camera=alert.camera, alert=alert.alert, rule=alert.rule,
            about=alert.kind, state=alert.state, sentence=_cut(alert.sentence), utc_s=alert.utc_s,
        )
    )  # fmt: skip


def parse_message(payload: bytes) -> Union[EventMessage, MinuteMessage, NoticeMessage, AlertMessage]:
    """Read a message.

    Raises:
        ValueError: it does not fit the schema.
    """
    return _ANY.validate_json(payload)


def message_schema() -> dict[str, Any]:
    """Return the JSON schema of all messages."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_ANY.json_schema()}


def device_name(configured: Optional[str]) -> str:
    """Return the configured name, or the host name in letters that a topic may have."""
    return configured or re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "device"


def topic_of(prefix: str, device: str, kind: str, camera: str) -> str:
    """Return the topic of a message; ``_`` stands for the device as a whole."""
    level = re.sub(r"[/+#\x00-\x1f\x7f]", "-", camera)[:64] or "_"
    return f"{prefix}/{device}/{kind}/{level}"


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= _LONGEST_SENTENCE else f"{sentence[: _LONGEST_SENTENCE - 1]}…"


def _message(message: Any) -> Message:
    text = json.dumps(message.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    return Message(message.kind, message.camera, message.id, text)

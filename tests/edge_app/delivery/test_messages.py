from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_app.alerts.rules import Alert
from edge_app.delivery.messages import (
    LONGEST_BYTES,
    alert_message,
    event_message,
    minute_messages,
    notice_message,
    parse_message,
)
from edge_app.sinks import StatusNotice
from tests.edge_app.storage.made import NOON, WITHOUT_METRES, event, minute

# What JSON writes with the most bytes, in the longest names that the schema allows.
_LONGEST_CAMERA = "\x01" * 200
_LONGEST_DEVICE = "d" * 64


def heat_of(cells):
    """As many cells as asked for, each with as many digits as its columns in history hold."""
    return {(-32768 + number % 256, -32768 + number // 256): 999_999_999.123 for number in range(cells)}


def test_a_minute_is_one_message_unless_its_heat_map_is_too_long():
    (message,) = minute_messages("dev", minute(1, heat=heat_of(8000)))
    assert message.uid == "run-m1"
    assert 200_000 < len(message.payload.encode()) <= LONGEST_BYTES


def test_a_long_heat_map_is_told_in_parts_that_add_up_to_the_minute():
    whole = minute(1, camera=_LONGEST_CAMERA, heat=heat_of(20_001), density_per_m2=0.5, passed_in=1, passed_out=2)
    messages = list(minute_messages(_LONGEST_DEVICE, whole))
    assert messages == list(minute_messages(_LONGEST_DEVICE, whole))
    assert [message.uid for message in messages] == ["run-m1", "run-m1-heat1", "run-m1-heat2"]
    assert max(len(message.payload.encode()) for message in messages) <= LONGEST_BYTES
    first, *others = [parse_message(message.payload.encode()) for message in messages]
    assert (first.watched_s, first.people, first.violating_pairs, first.passed_out) == (60.0, 3, 1, 2)
    for other in others:
        assert (other.camera, other.minute_utc_s) == (first.camera, first.minute_utc_s)
        assert (other.watched_s, other.people) == (0.0, 0)
        # Not measured in this part, which is not 0: means are not changed by it.
        assert {getattr(other, name) for name in (*WITHOUT_METRES, "density_per_m2", "passed_in", "passed_out")} == {
            None
        }
    cells = [cell for part in (first, *others) for cell in part.heat]
    assert {(x, y): seconds for x, y, seconds in cells} == whole.heat and len(cells) == 20_001


@pytest.mark.parametrize("kind", ["event", "notice", "alert"])
def test_no_other_message_is_longer_than_the_limit_whatever_it_holds(kind):
    sentence = "\x01" * 1_000_000
    message = {
        "event": lambda: event_message(_LONGEST_DEVICE, replace(event(1, camera=_LONGEST_CAMERA), uid="\x01" * 100)),
        "notice": lambda: notice_message(
            _LONGEST_DEVICE, "\x01" * 100, StatusNotice(_LONGEST_CAMERA, "source", False, sentence, NOON)
        ),
        "alert": lambda: alert_message(
            _LONGEST_DEVICE, Alert("a" * 90, "r" * 64, "fault", _LONGEST_CAMERA, "firing", sentence, NOON)
        ),
    }[kind]()
    assert len(message.payload.encode()) <= LONGEST_BYTES
    said = json.loads(message.payload)
    if kind != "event":
        assert len(said["sentence"]) == 4000 and said["sentence"].endswith("…")


def test_a_sentence_of_usual_length_is_not_cut():
    message = notice_message("dev", "n1", StatusNotice("door", "source", False, "x" * 4000, NOON))
    assert json.loads(message.payload)["sentence"] == "x" * 4000

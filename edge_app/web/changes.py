"""Which settings may be changed over the network, and to what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge_app.capture.source_hosts import why_refused
from edge_app.config import Config, ModelConfig
from edge_app.errors import UserError, did_you_mean
from edge_app.web.settings import Change

# Sections of the configuration, and of some only certain keys: none of these names a file or a program.
CHANGEABLE: dict[str, tuple[str, ...]] = {
    "distance": (),
    "events": (),
    "groups": (),
    "metrics": (),
    "tracker": (),
    "privacy": (),
    "model": ("score_threshold", "low_score_threshold", "threads"),
    "source": ("uri", "fps", "loop"),
}
# Whoever is found with less than the low score is not hidden.
_MOST_LOW_SCORE: float = ModelConfig.model_fields["low_score_threshold"].default
_OF_A_CAMERA = ("source", "metrics")
# Files, GStreamer descriptions and whatever else FFmpeg would open are for the configuration file alone.
_SOURCES = re.compile(r"\d{1,3}|/dev/video\d{1,3}|csi:\d{1,2}|(rtsps?|https?)://[^\s\x00-\x1f\x7f\"'\\<>|!]{1,500}")


def as_change(sections: Mapping[str, Any], camera_key: tuple[str, ...] = ()) -> Change:
    """Turn a body such as ``{"distance": {"threshold_m": 1.5}}`` into a change.

    Args:
        sections: what to change.
        camera_key: where in the file the sections ``source`` and ``metrics`` of the camera in question are.

    Raises:
        UserError: a key may not be changed here, or a source may not be opened.
    """
    change: Change = {}
    for section, keys in sections.items():
        if section not in CHANGEABLE:
            known = ", ".join(CHANGEABLE)
            hint = did_you_mean(section, CHANGEABLE) or f" (changeable: {known})"
            raise UserError(f"'{section}' can be changed in the configuration file only{hint}")
        if not isinstance(keys, Mapping):
            raise UserError(f"'{section}' is a section: give its keys and values as an object")
        for key, value in keys.items():
            if CHANGEABLE[section] and key not in CHANGEABLE[section]:
                raise UserError(f"'{section}.{key}' can be changed in the configuration file only")
            change[(*(camera_key if section in _OF_A_CAMERA else ()), section, key)] = value
    if not change:
        raise UserError("nothing to change; give a section with a key and its value")
    check_values(change)
    for key in [key for key in change if key[-2:] == ("source", "uri")]:
        # The file remembers where the address comes from: it is checked again at each connection.
        change[(*key[:-1], "only_cameras")] = True if change[key] is not None else None
    return change


def check_values(change: Change) -> None:
    """Refuse values that are right in the configuration file but may not be set over the network.

    Raises:
        UserError: people would be shown, or a source may not be opened.
    """
    for key, value in change.items():
        if key[-2:] == ("privacy", "people") and value == "show":
            raise UserError("people can be shown by the configuration file only; pick another 'privacy.people' here")
        if key[-2:] == ("source", "uri") and value is not None:
            _check_source(value)


def check_hiding(before: Config, after: Config) -> None:
    """Refuse a threshold that hides fewer people than the one in force: as it was parsed, since texts become numbers.

    Raises:
        UserError: people would be shown.
    """
    most = max(before.model.low_score_threshold, _MOST_LOW_SCORE)
    if after.model.low_score_threshold > most:
        raise UserError(
            f"'model.low_score_threshold' can be raised above {most:g} by the configuration file only, for people who "
            "are found with a lower score are not hidden; give at most that"
        )


def _check_source(uri: Any) -> None:
    if not isinstance(uri, str) or not _SOURCES.fullmatch(uri):
        raise UserError(
            "'source.uri' can be set here to rtsp://, rtsps://, http:// or https:// with an address, to a camera's "
            "number, /dev/videoN or csi:N; files and GStreamer descriptions go into the configuration file"
        )
    reason = why_refused(uri) if "://" in uri else None
    if reason is not None:
        raise UserError(f"'source.uri' {reason}")

"""The form of the settings: made from the configuration's own models, so that both say the same."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Optional

from pydantic.fields import FieldInfo

from edge_app.config import Config
from edge_app.errors import UserError
from edge_app.web.settings import LIVE, Change

Kind = Literal["number", "whole", "yes or no", "choice"]

_SECTIONS = {
    "distance": "What too close means",
    "events": "When closeness becomes an event",
    "groups": "People who belong together",
    "privacy": "How people are hidden",
    "model": "Detection",
    "tracker": "Following people",
}
_KEYS = {"model": ("score_threshold", "low_score_threshold", "threads")}
# Only the configuration file may show people.
_NO_CHOICE = ("show",)


@dataclass(frozen=True)
class Field:
    """One setting.

    Attributes:
        section, key: in the configuration.
        kind: of its value.
        choices: of a choice.
        value: now, as text.
        help: what it means.
        is_live: whether a change is in force at once.
        is_faulty: whether it is the one that was refused.
    """

    section: str
    key: str
    kind: Kind
    choices: tuple[str, ...]
    value: str
    help: str
    is_live: bool
    is_faulty: bool = False

    @property
    def name(self) -> str:
        """Name in the form."""
        return f"{self.section}.{self.key}"

    @property
    def label(self) -> str:
        """The key as words, with its unit."""
        words, unit = self.key.replace("_", " "), ""
        for ending, said in ((" m", "metres"), (" s", "seconds")):
            if words.endswith(ending):
                words, unit = words[: -len(ending)], f", {said}"
        for short, long in (("min ", "minimum "), ("max ", "maximum ")):
            if words.startswith(short):
                words = long + words[len(short) :]
        return f"{words[:1].upper()}{words[1:]}{unit}"


def sections(
    config: Config, sent: Optional[Mapping[str, str]] = None, mistake: Optional[str] = None
) -> Iterator[tuple[str, list[Field]]]:
    """Yield title and fields of each section.

    Args:
        config: in force.
        sent: what was typed, to be shown again.
        mistake: why it was refused; the first field that it names in quotation marks is the faulty one.
    """
    named = [] if mistake is None else re.findall(rf"'((?:{'|'.join(_SECTIONS)})\.\w+)'", mistake)
    for section, title in _SECTIONS.items():
        model = getattr(config, section)
        keys = _KEYS.get(section, tuple(type(model).model_fields))
        fields = [_field(section, key, type(model).model_fields[key], getattr(model, key), sent) for key in keys]
        yield title, [replace(field, is_faulty=field.name in named[:1]) for field in fields]


def changes(config: Config, sent: Mapping[str, str]) -> Change:
    """Return what differs between a form and the configuration; texts that are no numbers stay texts, to be refused.

    Raises:
        UserError: a field is empty, which would silently stand for the default.
    """
    change: Change = {}
    for _, fields in sections(config):
        for field in fields:
            text = sent.get(field.name, "no" if field.kind == "yes or no" else "").strip()
            if text != field.value:
                if text == "":
                    raise UserError(f"'{field.name}' is empty; give a value for \"{field.label}\" (now {field.value})")
                change[field.section, field.key] = _value(field.kind, text)
    return change


def _field(section: str, key: str, info: FieldInfo, value: Any, sent: Optional[Mapping[str, str]]) -> Field:
    kind, choices = _kind(info.annotation)
    text = _text(value)
    shown = choices if value in _NO_CHOICE else tuple(one for one in choices if one not in _NO_CHOICE)
    now = text if sent is None else sent.get(f"{section}.{key}", "no" if kind == "yes or no" else text)
    return Field(section, key, kind, shown, now, _help(info), section in LIVE)


def _help(info: FieldInfo) -> str:
    # In the file it is a key, on the page a field.
    return (info.description or "").replace("threshold_m", "the threshold")


def _kind(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(annotation) is Literal:
        return "choice", typing.get_args(annotation)
    if annotation is bool:
        return "yes or no", ()
    return ("whole" if annotation is int else "number"), ()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value(kind: Kind, text: str) -> Any:
    if kind == "yes or no":
        return text == "yes"
    if kind == "choice":
        return text
    try:
        return int(text) if kind == "whole" else float(text.replace(",", "."))
    except ValueError:
        return text

"""Which keys a place in the configuration knows, for messages about those that it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel


def known_keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys that are known at a location, in order of their definition.

    Args:
        model: of the whole.
        location: keys that lead there, as pydantic tells them: with indices of lists, names in mappings, and tags of
            unions in between.
    """
    models = [model]
    for part in location:
        tagged = [each for each in models if _has_tag(each, part)]
        fields = [each.model_fields[part].annotation for each in models if part in each.model_fields]
        if tagged:
            models = tagged
        elif fields:
            models = [found for annotation in fields for found in _models_in(annotation)]
        # Else it is an index or a name in a mapping: what lies there is of the same kind.
    return list(dict.fromkeys(key for each in models for key in each.model_fields))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, however it wraps them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    """Tell whether a member of a union is chosen by this value of its field ``kind``."""
    kind = model.model_fields.get("kind")
    return kind is not None and tag in get_args(kind.annotation)

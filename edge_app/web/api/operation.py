"""One operation of the API: its query and body checked by models, and told in the OpenAPI document by the same ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from flask import Blueprint, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict

from edge_app.config import explain
from edge_app.config_section import Section
from edge_app.errors import UserError
from edge_app.web.security.access import Access, admins_only, open_to_everyone, open_to_viewers

_MARKS: dict[Access, Callable[[Any], Any]] = {
    "everyone": open_to_everyone, "viewers": open_to_viewers, "admins": admins_only, "readers": lambda view: view,
}  # fmt: skip


class CameraQuery(Section):
    """Names a camera."""

    camera: Optional[str] = None


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of a route.

    Attributes:
        method: GET and so on.
        path: Flask's rule under the API's prefix.
        summary: one sentence.
        query, body, answer: models; ``media`` are the types that the answer may have.
        problems: further statuses that the operation answers with, beside 400, 401 and 403.
        access: who may use it.
    """

    method: str
    path: str
    summary: str
    query: Optional[type[BaseModel]]
    body: Optional[type[BaseModel]]
    answer: Optional[type[BaseModel]]
    media: tuple[str, ...]
    problems: tuple[int, ...]
    access: Access


class Operations:
    """Registers views with a blueprint, and remembers what they are for the document."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.all: list[Operation] = []

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        *,
        query: Optional[type[BaseModel]] = None,
        body: Optional[type[BaseModel]] = None,
        answer: Optional[type[BaseModel]] = None,
        media: tuple[str, ...] = ("application/json",),
        problems: tuple[int, ...] = (),
        access: Access = "readers",
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a view; it gets what was sent as ``query`` and ``body``, and may return a model.

        A query of None means that no parameter is taken: any that is sent is refused.
        """
        self.all.append(Operation(method, path, summary, query, body, answer, media, problems, access))

        def register(view: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(view)
            def checked(**parts: Any) -> Any:
                found = read_query(request.args, query or Section)
                if query is not None:
                    parts["query"] = found
                if body is not None:
                    parts["body"] = _read_body(body)
                given = view(**parts)
                return given.model_dump(mode="json", by_alias=True) if isinstance(given, BaseModel) else given

            marked = _MARKS[access](checked)
            self.blueprint.add_url_rule(path, endpoint=view.__name__, view_func=marked, methods=[method])
            return marked

        return register


def read_query(sent: MultiDict[str, str], model: type[BaseModel]) -> Any:
    """Check query parameters.

    Raises:
        UserError: one is unknown, given twice, or not what the model wants.
    """
    twice = next((name for name, values in sent.lists() if len(values) > 1), None)
    if twice is not None:
        raise UserError(f"query: '{twice}' is given twice; give it once")
    return _validated(dict(sent), model, "query")


def _read_body(model: type[BaseModel]) -> Any:
    if not request.is_json:
        raise UserError("the body must be JSON; send it with 'Content-Type: application/json'")
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        raise UserError("the body is not a JSON object; correct it")
    return _validated(content, model, "body")


def _validated(content: Any, model: type[BaseModel], name: str) -> Any:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name}: {explain(error, model)}") from error

"""The OpenAPI document, made from the models that check what is sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edge_app import __version__
from edge_app.config_section import Section
from edge_app.web.api.operation import Operation

_REF = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "What was sent will not do; the sentence says what and how to mend it.",
    401: "Nobody is logged in.",
    403: "Only an admin may do that, or the CSRF token is missing.",
    404: "There is no such thing.",
    409: "It can't be done as things are.",
    413: "The body is too large.",
    429: "Too many requests; Retry-After says how many seconds to wait.",
    503: "Too many streams are open.",
}


class Problem(Section):
    """What is wrong, in one sentence."""

    error: str


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document, OpenAPI 3.1, of these operations."""
    answers = {model for one in operations for model in (one.answer,) if model is not None} | {Problem}
    inputs = {model for one in operations for model in (one.body, one.query) if model is not None}
    wanted: list[tuple[type[BaseModel], Any]] = [
        *((model, "serialization") for model in sorted(answers, key=lambda model: model.__name__)),
        *((model, "validation") for model in sorted(inputs, key=lambda model: model.__name__)),
    ]
    names, schemas = models_json_schema(wanted, ref_template=_REF)
    components = schemas.get("$defs", {})
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(_template(one.path), {})[one.method.lower()] = _operation(one, names, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Edge Social Distancing", "version": __version__,
                 "description": "Times are seconds since 1970, UTC; lengths are metres on the ground."},
        "servers": [{"url": "/api/v1"}],
        "security": [{"session": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "edge_session"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }  # fmt: skip


def _operation(one: Operation, names: Any, components: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "summary": one.summary,
        "operationId": f"{one.method.lower()}{re.sub('[^a-z0-9]+', '_', one.path)}".rstrip("_"),
        "responses": {"200": _answer(one, names)},
    }
    parameters = [_path_parameter(name) for name in re.findall(r"<(?:\w+:)?(\w+)>", one.path)]
    if one.query is not None:
        parameters += _query_parameters(components[_component(names[one.query, "validation"])])
    if parameters:
        said["parameters"] = parameters
    if one.body is not None:
        schema = names[one.body, "validation"]
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    problems = {400, 401, 403, 429, *one.problems, *((413,) if one.body is not None else ())}
    for status in sorted(problems):
        content = {"application/json": {"schema": names[Problem, "serialization"]}}
        said["responses"][str(status)] = {"description": _PROBLEMS[status], "content": content}
    return said


def _answer(one: Operation, names: Any) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media in one.media:
        is_json = media == "application/json"
        content[media] = {"schema": {} if is_json else {"type": "string"}}
    if one.answer is not None:
        content = {"application/json": {"schema": names[one.answer, "serialization"]}}
    return {"description": one.summary, "content": content}


def _query_parameters(model: dict[str, Any]) -> list[dict[str, Any]]:
    required = set(model.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _given(schema),
         "description": schema.get("description", "")}
        for name, schema in model.get("properties", {}).items()
    ]  # fmt: skip


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without null: a parameter that has no value is just not sent."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "description")}
    return {**kept, **kinds[0]} if len(kinds) == 1 else schema


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _template(path: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def _component(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[1]

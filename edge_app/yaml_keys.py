"""Reads YAML in which no mapping holds a key twice."""

from __future__ import annotations

from typing import Any

import yaml

from edge_app.errors import UserError

_MERGE = "tag:yaml.org,2002:merge"


def parse_yaml(text: str, name: str, remedy: str = "correct that line") -> Any:
    """Return what a document of a person says, as ``load_yaml`` does.

    Args:
        text: the document.
        name: of it, and the remedy, for the message.

    Raises:
        UserError: it is no YAML; the message says where and why.
    """
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise UserError(f"{name}: not valid YAML{where} ({problem}); {remedy}") from error


def load_yaml(text: str) -> Any:
    """Return what a YAML document says, in plain types.

    Raises:
        yaml.YAMLError: it is no YAML, or a key is there twice in one mapping; its mark says where. Or it is nested too
            deep, or in itself.
    """
    loader = _OneOfEachKey(text)
    try:
        content = loader.get_single_data()
        _walk(content)
        return content
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="it is nested too deep, or in itself") from error
    finally:
        loader.dispose()


def _walk(content: Any) -> None:
    """Visit everything; an alias that leads to what it is in has no end."""
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _walk(inner)


class _OneOfEachKey(yaml.SafeLoader):
    """PyYAML's safe loader takes the last of equal keys; this one refuses them. Merge keys (``<<``) stay allowed."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping; its keys are looked at here, as written, before merge keys bring in others.

        Raises:
            yaml.composer.ComposerError: a key is there twice; the error's mark is that of the second.
        """
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name = (key.tag, key.value)
            if name in lines:
                problem = f"the key '{key.value}' is there already, at line {lines[name]}"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            lines[name] = key.start_mark.line + 1
        return node

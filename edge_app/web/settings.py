"""The settings that pages change: kept in the configuration file, comments and all, and applied live where they can."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from edge_app.atomic_file import write_atomically
from edge_app.config import Config, parse_config
from edge_app.errors import UserError

# Sections, or keys of sections, that the running pipeline takes over; whatever else is changed needs a restart.
LIVE = frozenset({"distance", "events", "groups", "metrics", "calibration", "privacy"})
Change = dict[tuple[str, ...], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a change.

    Attributes:
        live: keys that are in force now.
        needs_restart: keys that will be in force after the next start.
    """

    live: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Settings:
    """The configuration in force and its file.

    Attributes:
        config: with every change that was made since the start.
        path: of the file; None when the program was started without one.
    """

    def __init__(self, config: Config, path: Optional[Path]) -> None:
        self.config = config
        self.path = path
        self._lock = threading.Lock()

    def change(
        self,
        change: Change,
        apply: Callable[[Config], None],
        check: Callable[[Config, Config], None] = lambda before, after: None,
    ) -> Outcome:
        """Change keys, keep them in the file and put them in force.

        Args:
            change: from a key's path, such as ``("distance", "threshold_m")``, to its value; None takes the key away.
            apply: puts a configuration in force; when it refuses, the file stays as it was.
            check: refuses what may not become of the configuration in force.

        Raises:
            UserError: a key or value will not do, or there is no file or it cannot be written.
        """
        with self._lock:
            if self.path is None:
                raise UserError("the program runs without a configuration file; start it with --config FILE to change")
            content = _read(self.path)
            _change(content, change)
            # Only what the page changed is judged anew: the command line may have overruled other keys of the file.
            changed = parse_config(_plain(content), self.path.name, self.path.resolve().parent)
            config = self._with(changed, {key[0] for key in change})
            check(self.config, config)
            try:
                apply(config)
            except UserError:
                # One camera may have taken over what another can't.
                apply(self.config)
                raise
            try:
                write_atomically(self.path, _dump(content), backup=self.backup_path)
            except OSError as error:
                apply(self.config)
                raise UserError(
                    f"configuration {self.path.name} cannot be written ({error.strerror}); nothing was changed"
                ) from error
            self.config = config
        keys = [".".join(key) for key in change]
        live = tuple(key for key in keys if LIVE.intersection(key.split(".")))
        later = [key for key in keys if key not in live]
        return Outcome(live, tuple(later))

    @property
    def backup_path(self) -> Optional[Path]:
        """Where the file from before the last change is kept."""
        return None if self.path is None else self.path.with_name(f"{self.path.name}.bak")

    def _with(self, changed: Config, sections: set[str]) -> Config:
        return self.config.model_copy(update={name: getattr(changed, name) for name in sections})


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.width = 118
    yaml.preserve_quotes = True
    return yaml


def _read(path: Path) -> CommentedMap:
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"configuration {path.name} cannot be read any more; mend it first") from error
    if content is None:
        content = CommentedMap()
    if not isinstance(content, CommentedMap):
        raise UserError(f"configuration {path.name} is not a mapping any more; mend it first")
    return content


def _change(content: CommentedMap, change: Change) -> None:
    for key, value in change.items():
        section: Any = content
        for part in key[:-1]:
            if section.get(part) is None:
                section[part] = CommentedMap()
            section = section[part]
            if not isinstance(section, CommentedMap):
                raise UserError(f"'{'.'.join(key)}' can't be set: '{part}' is not a section in the file")
        if value is None:
            section.pop(key[-1], None)
        else:
            section[key[-1]] = value


def _plain(value: Any) -> Any:
    """Return the content without the parser's own types, as the checks want it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _dump(content: CommentedMap) -> str:
    text = io.StringIO()
    _yaml().dump(content, text)
    return text.getvalue()

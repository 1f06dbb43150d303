"""A small reader of Dockerfiles: enough to execute ours without a container engine.

Knows FROM, ARG, ENV, RUN, COPY, WORKDIR, USER, SHELL and the instructions that only describe an image. Anything else is
refused, so that a Dockerfile that grows beyond it fails instead of being executed wrongly.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

DESCRIBING = ("LABEL", "EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD")
EXECUTED = ("FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "SHELL")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, the rest as one line, and the line where it starts."""

    word: str
    rest: str
    line: int

    def form(self) -> list[str]:
        """Return the exec form (a JSON list), or the words of the shell form."""
        if self.rest.startswith("["):
            return [str(part) for part in json.loads(self.rest)]
        return shlex.split(self.rest)


def read_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions in order; comments go, continued lines are joined.

    Raises:
        ValueError: an instruction that this reader does not know.
    """
    found: list[Instruction] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or (not line.strip() and not pending):
            continue
        start = start or number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1].strip() + " "
            continue
        word, _, rest = (pending + line.strip()).partition(" ")
        pending = ""
        if word.upper() not in (*EXECUTED, *DESCRIBING):
            raise ValueError(f"line {start}: {word} is not known to this reader")
        found.append(Instruction(word.upper(), rest.strip(), start))
        start = 0
    return found


def substitute(text: str, values: dict[str, str]) -> str:
    """Put values in place of ``$NAME`` and ``${NAME}``, as Docker does outside of RUN; unknown names become empty."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: values.get(match.group(1) or match.group(2), ""), text)

"""Executes a Dockerfile in folders: every stage is a root made from a tar file, every RUN a chroot into it.

What needs a host that can't be reached is skipped and named, and so is what needs the result of a skipped step. Nothing
is faked in its place. Must run as root; the roots of another architecture need qemu's binfmt handler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.images.dockerfile import DESCRIBING, Instruction, read_dockerfile, substitute
from tests.images.layers import Layers, chained, content_of, unpack


@dataclass
class Stage:
    """A root that instructions change.

    Attributes:
        name: after AS, else its number.
        root: folder.
        environment: of its commands.
        folder: WORKDIR.
        user: who runs commands; empty for root.
        shell: words before a RUN's text.
        described: instructions that only describe: word → its form.
        key: of all that was done so far.
        pending: tar file of what the root is to be; unpacked when somebody looks.
    """

    name: str
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    described: dict[str, list[str]] = field(default_factory=dict)
    key: str = ""
    pending: Path | None = None

    def filled_root(self) -> Path:
        """Return the root with all that was done so far in it."""
        if self.pending is not None:
            unpack(self.pending, self.root)
            self.pending = None
        return self.root


@dataclass
class Built:
    """What a build left behind.

    Attributes:
        stage: the last one.
        skipped: one sentence for each step that was not executed.
        executed: number of instructions that were.
        kept: how many of them are RUN instructions that were executed in an earlier build that began the same way.
        seconds: that it took.
    """

    stage: Stage
    skipped: list[str]
    executed: int
    kept: int
    seconds: float


class Build:
    """Executes one Dockerfile.

    Args:
        dockerfile: to execute.
        context: folder that COPY takes from.
        base: tar file of a root, which stands in for every FROM of an image.
        work: folder for the roots.
        unreachable: host names; a RUN that names one is skipped.
        host_files: files of this machine that commands need meanwhile (resolver, certificates): path in the root →
        here. environment: for commands while building only, as a build argument would be.
    """

    def __init__(
        self,
        dockerfile: Path,
        context: Path,
        base: Path,
        work: Path,
        *,
        unreachable: Sequence[str] = (),
        host_files: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._instructions = read_dockerfile(dockerfile.read_text(encoding="utf-8"))
        self._context, self._base, self._work = context, base, work
        self._unreachable = tuple(unreachable)
        self._host_files = dict(host_files or {})
        self._build_environment = dict(environment or {})
        self._stages: list[Stage] = []
        self._arguments: dict[str, str] = {}
        self._global: dict[str, str] = {}
        self._skipped: list[str] = []
        self._layers = Layers(work / "layers")
        self._executed, self._kept = 0, 0

    def run(self, log: Path) -> Built:
        """Execute all instructions; the output of commands goes into ``log``."""
        started = time.monotonic()
        with log.open("wb") as stream:
            for instruction in self._instructions:
                stream.write(f"--- {instruction.line}: {instruction.word} {instruction.rest[:200]}\n".encode())
                stream.flush()
                self._execute(instruction, stream)
        self._stages[-1].filled_root()
        self._layers.forget_unused()
        seconds = time.monotonic() - started
        return Built(self._stages[-1], self._skipped, self._executed, self._kept, seconds)

    def _execute(self, instruction: Instruction, stream: object) -> None:
        word = instruction.word
        if word in DESCRIBING:
            self._stages[-1].described[word] = (
                instruction.form() if word in ("ENTRYPOINT", "CMD") else [instruction.rest]
            )
            return
        if word == "FROM":
            self._from(instruction)
        elif word == "ARG":
            name, _, default = instruction.rest.partition("=")
            arguments = self._arguments if self._stages else self._global
            arguments[name] = substitute(default, arguments).strip('"')
        elif word == "ENV":
            stage = self._stages[-1]
            for pair in instruction.form():
                name, _, value = pair.partition("=")
                stage.environment[name] = substitute(value, {"PATH": _PATH, **stage.environment, **self._arguments})
        elif word == "SHELL":
            self._stages[-1].shell = instruction.form()
        elif word == "WORKDIR":
            self._stages[-1].folder = instruction.rest
            (self._stages[-1].filled_root() / instruction.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            self._extend("WORKDIR", instruction.rest)
        elif word == "USER":
            self._stages[-1].user = instruction.rest
        elif word == "COPY":
            if not self._copy(instruction):
                return
        elif not self._run(instruction, stream):
            return
        self._executed += 1

    def _from(self, instruction: Instruction) -> None:
        words = substitute(instruction.rest, self._global).split()
        name = words[2] if len(words) == 3 and words[1].upper() == "AS" else str(len(self._stages))
        base = self._base.stat()
        key = chained("", [self._base.name, str(base.st_size), str(base.st_mtime_ns)])
        self._stages.append(Stage(name, self._work / f"stage-{name}", key=key, pending=self._base))
        self._arguments = {}

    def _extend(self, *parts: str) -> None:
        stage = self._stages[-1]
        stage.key = chained(stage.key, parts)

    def _copy(self, instruction: Instruction) -> bool:
        words = instruction.form()
        source_root, source_key = self._context, ""
        if words[0].startswith("--from="):
            name = words.pop(0).removeprefix("--from=")
            other = next(stage for stage in self._stages if stage.name == name)
            source_root, source_key = other.filled_root(), other.key
        stage = self._stages[-1]
        stage_root = stage.filled_root()
        *sources, target = words
        for source in sources:
            path = source_root / source.lstrip("/")
            if not path.exists():
                if not self._skipped:
                    raise FileNotFoundError(f"line {instruction.line}: {source} is not there")
                self._skip(instruction, f"{source} comes from a step that was skipped")
                return False
            self._extend("COPY", source, target, source_key or content_of(path))
            place = stage_root / (Path(stage.folder) / target).as_posix().lstrip("/")
            if path.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place / path.name if target.endswith("/") else place)
        return True

    def _run(self, instruction: Instruction, stream: object) -> bool:
        host = next((host for host in self._unreachable if host in instruction.rest), None)
        if host is not None:
            self._skip(instruction, f"it needs {host}, which can't be reached from here")
            return False
        stage = self._stages[-1]
        command = [*stage.shell, instruction.rest]
        variables = {**self._arguments, **stage.environment}
        self._extend("RUN", stage.user, stage.folder, *command, *(f"{name}={variables[name]}" for name in variables))
        layer = self._layers.find(stage.key)
        if layer is not None:
            stage.pending = layer
            self._kept += 1
            return True
        with present(stage.filled_root(), self._host_files):
            environment = {**self._arguments, **self._build_environment, **stage.environment}
            done = in_root(stage, command, environment, stdout=stream, stderr=stream)
        if done.returncode != 0:
            raise RuntimeError(f"line {instruction.line}: RUN ended with status {done.returncode}; see the log")
        self._layers.keep(stage.key, stage.root)
        return True

    def _skip(self, instruction: Instruction, reason: str) -> None:
        self._skipped.append(f"line {instruction.line} ({instruction.word}): {reason}")


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class present:
    """Puts files of this machine into a root for as long as commands need them."""

    def __init__(self, root: Path, host_files: Mapping[str, Path]) -> None:
        self._root, self._host_files = root, host_files
        self._kept: dict[Path, bytes | None] = {}

    def __enter__(self) -> None:
        for place, here in self._host_files.items():
            path = self._root / place.lstrip("/")
            self._kept[path] = path.read_bytes() if path.exists() else None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(here.read_bytes())

    def __exit__(self, *_: object) -> None:
        for path, content in self._kept.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


# The mounts live in a namespace of their own and end with the command, so that no root is ever removed with this
# machine's devices still mounted in it.
_ENTER = """
root="$1"; shift
for name in proc sys dev; do mkdir -p "$root/$name" && mount --rbind "/$name" "$root/$name" || exit 125; done
exec chroot "$@"
"""


def in_root(
    stage: Stage, command: Sequence[str], environment: Mapping[str, str], **streams: object
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a stage's root, as its user, in its folder."""
    user = [f"--userspec={stage.user}:{stage.user}"] if stage.user.isdigit() else []
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter", str(stage.root)]
    start = [*enter, *user, str(stage.root), "/usr/bin/env", "-C", stage.folder, *command]
    clean = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **environment}
    return subprocess.run(start, env=clean, stdin=subprocess.DEVNULL, check=False, **streams)  # type: ignore[call-overload,no-any-return]


def size_of(root: Path) -> int:
    """Return the bytes of all files in a root, each once."""
    seen, total = set(), 0
    for folder, _, names in os.walk(root):
        for name in names:
            found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - many thousands of files
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total

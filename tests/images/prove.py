"""Executes both Dockerfiles without a container engine and runs what they hold; ``make prove-images``.

    python -m tests.images.prove --work DIR [--without-host HOST]… [--record docs/image_proof.md] [coral-arm64 …]

Debian roots are made by debootstrap; arm64 runs under qemu's user emulation. Needs root, debootstrap, and for arm64
qemu-user-static with its binfmt handler. Takes up to an hour on two cores the first time; a root is kept after each
RUN, so that it takes some minutes as long as only the application changes.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.images.build import Build, Built, in_root, present, size_of
from tests.images.same_analysis import compare_tracks

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CLIP = "edge_app/sample/pets_s2l1_excerpt.mp4"
# Every 7th of the clip's 140 frames: 20.
EVERY, FRAMES = 7, 20
DEFAULTS, REFERENCE = "default kernels", "reference kernels"
_REFERENCE = "calibration: /app/config/cameras/pets_view001.yaml\nmodel: {kernels: reference}\n"
CA_FILE, CA_PLACE = Path("/etc/ssl/certs/ca-certificates.crt"), "/run/build-ca.crt"


@dataclass(frozen=True)
class Image:
    """What to build: the Dockerfile, Debian's release and the architecture as Debian names it."""

    dockerfile: str
    suite: str
    architecture: str


IMAGES = {
    "coral-amd64": Image("Dockerfile.coral", "bullseye", "amd64"),
    "coral-arm64": Image("Dockerfile.coral", "bullseye", "arm64"),
    "train-amd64": Image("Dockerfile.train", "bookworm", "amd64"),
}
# Runs a command and prints its status and peak memory (KiB) as the last line.
_MEASURE = (
    "import resource,subprocess,sys; done=subprocess.run(sys.argv[1:]); "
    "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def main() -> int:
    """Build and run the images that were asked for; returns 1 if one fails."""
    options = argparse.ArgumentParser(description="Execute the Dockerfiles without a container engine.")
    options.add_argument("images", nargs="*", help="default: all")
    options.add_argument("--work", type=Path, required=True, help="folder for roots and logs, several GB")
    options.add_argument("--without-host", action="append", default=[], help="a host that can't be reached from here")
    options.add_argument("--record", type=Path, help="write the result into this file")
    options.add_argument("--mirror", default="http://deb.debian.org/debian", help="Debian mirror for debootstrap")
    chosen = options.parse_args()
    names = chosen.images or list(IMAGES)
    chosen.work.mkdir(parents=True, exist_ok=True)
    lines, analyses, failed = [], {}, False
    for name in names:
        lines += [f"## {name}: {IMAGES[name].dockerfile} on Debian {IMAGES[name].suite}", ""]
        try:
            built = build(name, chosen.work, chosen.without_host, chosen.mirror)
            lines += describe(name, built, chosen.work)
            if name.startswith("coral"):
                analyses[name], said = analyse(name, built, chosen.work)
            else:
                said = exercise_training(built)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            # The other images are proven nonetheless.
            failed, said = True, [f"- **failed**: {error}"]
        lines += [*said, f"- recorded on {time.strftime('%Y-%m-%d', time.gmtime())}", ""]
    if {"coral-amd64", "coral-arm64"} <= set(analyses):
        said, same = compare(analyses["coral-amd64"], analyses["coral-arm64"])
        lines += ["## arm64 against amd64", "", *said]
        failed = failed or not same
    text = "\n".join(lines)
    print(text)
    if chosen.record is not None:
        earlier = chosen.record.read_text(encoding="utf-8") if chosen.record.is_file() else ""
        chosen.record.write_text(_HEADER + merged(earlier, text), encoding="utf-8")
    return int(failed)


_HEADER = """# The container images, executed without a container engine

Written by `make prove-images`. The Dockerfiles' own instructions were executed in Debian roots made by debootstrap,
arm64 under qemu's user emulation; steps that need a host that could not be reached are named. No Edge TPU was there.

"""


def merged(earlier: str, text: str) -> str:
    """Return a record's sections, with those of this run in place of earlier ones; what was not run is kept."""
    sections: dict[str, str] = {}
    for part in (earlier, text):
        for section in re.split(r"^(?=## )", part, flags=re.MULTILINE):
            if section.startswith("## "):
                sections[section.splitlines()[0].split(":")[0]] = section.strip()
    return "\n\n".join(sections[name] for name in sorted(sections)) + "\n"


def base_of(image: Image, work: Path, mirror: str) -> Path:
    """Return the tar file of a Debian root; made once."""
    tar = work / f"{image.suite}-{image.architecture}.tar"
    if not tar.is_file():
        root = work / f"{image.suite}-{image.architecture}"
        command = ["debootstrap", f"--arch={image.architecture}", "--variant=minbase", image.suite, str(root), mirror]
        subprocess.run(command, check=True)
        subprocess.run(["tar", "-C", str(root), "-cf", str(tar), "."], check=True)
    return tar


def build(name: str, work: Path, unreachable: list[str], mirror: str) -> Built:
    """Execute a Dockerfile."""
    image = IMAGES[name]
    place = work / name
    place.mkdir(exist_ok=True)
    files = {"/etc/resolv.conf": Path("/etc/resolv.conf")}
    environment = {}
    if CA_FILE.is_file():
        files[CA_PLACE] = CA_FILE
        environment = {"PIP_CERT": CA_PLACE}
    executed = Build(
        REPOSITORY / image.dockerfile, REPOSITORY, base_of(image, work, mirror), place,
        unreachable=unreachable, host_files=files, environment=environment,
    )  # fmt: skip
    return executed.run(place / "build.log")


def describe(name: str, built: Built, work: Path) -> list[str]:
    """Return what was built, in lines of Markdown."""
    image = IMAGES[name]
    tar = work / f"{image.suite}-{image.architecture}.tar"
    lines = []
    kept = f", {built.kept} of them in an earlier run that began the same way" if built.kept else ""
    lines.append(
        f"- {built.executed} instructions executed{kept} ({built.seconds:.0f} s), {len(built.skipped)} skipped"
    )
    lines += [f"- skipped: {sentence}" for sentence in built.skipped]
    total = size_of(built.stage.root) / 1e6
    lines.append(f"- size {total:.0f} MB, of which the base {tar.stat().st_size / 1e6:.0f} MB")
    return lines


def command_in(built: Built, *arguments: str) -> tuple[int, int, str]:
    """Run the image's entry point with arguments; returns status, peak memory in KiB and the output."""
    stage = built.stage
    command = ["python3", "-c", _MEASURE, *stage.described["ENTRYPOINT"], *arguments]
    with present(stage.root, {}):
        done = in_root(stage, command, stage.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    *output, last = text.strip().splitlines() or [""]
    found = re.fullmatch(r"(\d+) (\d+)", last)
    if found is None:
        raise RuntimeError(f"{' '.join(command)} could not be run in the image: {text[-500:]}")
    return int(found.group(1)), int(found.group(2)), "\n".join(output)


def analyse(name: str, built: Built, work: Path) -> tuple[dict[str, Path], list[str]]:
    """Analyse 20 frames of the sample clip with the image's own entry point, in two ways.

    Returns:
        Way → folder of results, and lines of Markdown.
    """
    state = built.stage.root / "var/lib/edge_app"
    (state / "reference.yaml").write_text(_REFERENCE)
    ways = {DEFAULTS: "config/demo.yaml", REFERENCE: "/var/lib/edge_app/reference.yaml"}
    folders, lines = {}, []
    for number, (way, config) in enumerate(ways.items()):
        folder = state / f"out{number}"
        shutil.rmtree(folder, ignore_errors=True)
        out = f"/var/lib/edge_app/{folder.name}"
        status, memory, text = command_in(
            built, "analyze", CLIP, "--config", config, "--every", str(EVERY), "--out", out
        )
        if status != 0:
            raise RuntimeError(f"{name}: analyze ended with status {status}: {text[-500:]}")
        summary = json.loads((folder / "summary.json").read_text())
        if summary["frames_analysed"] != FRAMES:
            raise RuntimeError(f"{name}: {summary['frames_analysed']} frames were analysed, not {FRAMES}")
        native = IMAGES[name].architecture == "amd64" or platform.machine() == "aarch64"
        emulated = "" if native else ", emulator included"
        versions = summary["versions"]
        opencv, numpy = versions["opencv-python-headless"], versions["numpy"]
        lines.append(
            f"- `analyze` of the sample clip, {way}, as user {built.stage.user}: {FRAMES} frames, Python "
            f"{versions['python']}, {summary['runtime']}, OpenCV {opencv}, NumPy {numpy}, "
            f"peak memory {memory / 1024:.0f} MiB{emulated}"
        )
        folders[way] = folder
    return folders, lines


def exercise_training(built: Built) -> list[str]:
    """Run two commands of the training side that need TensorFlow and the schema."""
    model = next(path.name for path in sorted((REPOSITORY / "models").glob("*.tflite")))
    lines = []
    for arguments in (["operators", f"models/{model}"], ["compile", "--check", f"models/{model}"]):
        status, memory, text = command_in(built, *arguments)
        if status != 0:
            raise RuntimeError(f"training {arguments} ended with status {status}: {text[-500:]}")
        lines.append(f"- `training {' '.join(arguments)}`: done, peak memory {memory / 1024:.0f} MiB")
    return lines


def compare(first: dict[str, Path], second: dict[str, Path]) -> tuple[list[str], bool]:
    """Compare the analyses of two images; only reference kernels must give the same."""
    found = {way: compare_tracks(first[way], second[way]) for way in first}
    lines = [f"- the sample clip, {way}: {comparison.sentence()}" for way, comparison in found.items()]
    return lines, found[REFERENCE].identical


if __name__ == "__main__":
    sys.exit(main())

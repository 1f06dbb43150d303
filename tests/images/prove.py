"""Executes both Dockerfiles without a container engine and runs what they hold; ``make prove-images``.

    python -m tests.images.prove --work DIR [--without-host HOST]… [--record docs/image_proof.md] [coral-arm64 …]

Debian roots are made by debootstrap; arm64 runs under qemu's user emulation. Needs root, debootstrap, and for arm64
qemu-user-static with its binfmt handler. Takes from half an hour to an hour on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.images.build import Build, Built, in_root, present, size_of

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CLIP = "edge_app/sample/pets_s2l1_excerpt.mp4"
# Every 7th of the clip's 140 frames: 20.
EVERY, FRAMES = 7, 20
# Two runs give the same boxes if they differ by no more than this; product-wide.
IOU, SCORE = 0.99, 1 / 128
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
        built = build(name, chosen.work, chosen.without_host, chosen.mirror)
        lines += describe(name, built, chosen.work)
        if name.startswith("coral"):
            analyses[name], said = analyse(name, built, chosen.work)
        else:
            said = exercise_training(built)
        lines += [*said, ""]
    if {"coral-amd64", "coral-arm64"} <= set(analyses):
        said, same = compare(analyses["coral-amd64"], analyses["coral-arm64"])
        lines += ["## arm64 against amd64", "", said]
        failed = not same
    text = "\n".join(lines)
    print(text)
    if chosen.record is not None:
        chosen.record.write_text(_HEADER.format(names=" ".join(names)) + text + "\n", encoding="utf-8")
    return int(failed)


_HEADER = """# The container images, executed without a container engine

Written by `make prove-images`. The Dockerfiles' own instructions were executed in Debian roots made by debootstrap,
arm64 under qemu's user emulation; steps that need a host that could not be reached are named. No Edge TPU was there.

"""


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
    lines = [f"## {name}: {image.dockerfile} on Debian {image.suite}", ""]
    lines.append(f"- {built.executed} instructions executed in {built.seconds:.0f} s, {len(built.skipped)} skipped")
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


def analyse(name: str, built: Built, work: Path) -> tuple[Path, list[str]]:
    """Analyse 20 frames of the sample clip with the image's own entry point."""
    out = "/var/lib/edge_app/out"
    status, memory, text = command_in(
        built, "analyze", CLIP, "--config", "config/demo.yaml", "--every", str(EVERY), "--out", out, "--json"
    )
    folder = built.stage.root / out.lstrip("/")
    if status != 0:
        raise RuntimeError(f"{name}: analyze ended with status {status}: {text[-500:]}")
    summary = json.loads((folder / "summary.json").read_text())
    if summary["frames_analysed"] != FRAMES:
        raise RuntimeError(f"{name}: {summary['frames_analysed']} frames were analysed, not {FRAMES}")
    emulated = "" if IMAGES[name].architecture == "amd64" or platform.machine() == "aarch64" else ", emulator included"
    versions = summary["versions"]
    runtime = f"Python {versions['python']}, tflite-runtime {versions['tflite-runtime']}, NumPy {versions['numpy']}"
    return folder, [
        f"- `analyze` on {FRAMES} frames of the sample clip as user {built.stage.user}: done, {runtime}, "
        f"peak memory {memory / 1024:.0f} MiB{emulated}"
    ]


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


def compare(first: Path, second: Path) -> tuple[str, bool]:
    """Compare the tracks of two analyses row by row."""
    rows = [list(csv.reader((folder / "tracks.txt").open())) for folder in (first, second)]
    if [row[:2] for row in rows[0]] != [row[:2] for row in rows[1]]:
        return f"different people: {len(rows[0])} and {len(rows[1])} track rows", False
    worst_iou, worst_score = 1.0, 0.0
    for a, b in zip(*rows):
        worst_iou = min(worst_iou, overlap([float(value) for value in a[2:6]], [float(value) for value in b[2:6]]))
        worst_score = max(worst_score, abs(float(a[6]) - float(b[6])))
    same = worst_iou >= IOU and worst_score <= SCORE
    identical = (first / "tracks.txt").read_bytes() == (second / "tracks.txt").read_bytes()
    return (
        f"{len(rows[0])} track rows, the same people in the same frames; least IoU {worst_iou:.4f}, largest score "
        "difference "
        f"{worst_score:.4f}" + ("; the files are equal byte by byte" if identical else ""),
        same,
    )


def overlap(a: list[float], b: list[float]) -> float:
    """Return the intersection over union of two (left, top, width, height) boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-9)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m training bundle``, ``bundle-key`` and ``deploy``."""

from __future__ import annotations

import getpass
import json
import shlex
import socket
import time
from pathlib import Path
from typing import Optional

import click

_FILE = click.Path(path_type=Path)
DEFAULT_KEY = Path.home() / ".config" / "edge-social-distancing" / "release.key"


@click.command("bundle-key")
@click.option("--out", type=_FILE, default=DEFAULT_KEY, show_default=True, help="private key to write; .pub beside it")
@click.option("--comment", help="whose key it is; default: user and machine")
def bundle_key(out: Path, comment: Optional[str]) -> None:
    """Make a key that signs bundles; devices trust its public half (.pub) with 'model trust'."""
    from training.bundle.keys import make_key, public_path  # noqa: PLC0415 - keeps --help quick

    public = make_key(out, comment if comment is not None else f"{getpass.getuser()}@{socket.gethostname()}")
    click.echo(f"{out}: keep it to yourself\n{public_path(out)}: give it to devices (key {public.key_id})")


@click.command()
@click.option("--model", type=_FILE, required=True, help="CPU model (.tflite) with its manifest beside it")
@click.option(
    "--compiled", type=_FILE, help="its compiled twin; default: MODEL_edgetpu.tflite beside it, if there is one"
)
@click.option("--parity", type=_FILE, help="JSON file of 'training parity', carried along")
@click.option("--golden", "video", type=_FILE, help="video whose frames are golden; default: the sample clip")
@click.option("--golden-source", default="", help="whose frames these are and on what terms; they are given away")
@click.option("--golden-frames", type=click.IntRange(1, 20), default=4, show_default=True, help="how many")
@click.option("--key", type=_FILE, default=DEFAULT_KEY, show_default=True, help="private key of 'bundle-key'")
@click.option("--released", type=click.IntRange(0), help="seconds since 1970; default: now")
@click.option("--out", type=_FILE, required=True, help="bundle to write")
@click.option("--json", "as_json", is_flag=True, help="print the index as JSON")
def bundle(
    model: Path,
    compiled: Optional[Path],
    parity: Optional[Path],
    video: Optional[Path],
    golden_source: str,
    golden_frames: int,
    key: Path,
    released: Optional[int],
    out: Path,
    as_json: bool,
) -> None:
    """Make a signed bundle for 'edge_app model install': models, manifests, golden frames with expected boxes."""
    from training.bundle.golden_frames import SAMPLE_CLIP  # noqa: PLC0415 - keeps --help quick
    from training.bundle.keys import load_key  # noqa: PLC0415
    from training.bundle.make import BundleParts, make_bundle  # noqa: PLC0415

    twin = model.with_name(f"{model.stem}_edgetpu.tflite")
    parts = BundleParts(
        model=model,
        compiled=compiled or (twin if twin.is_file() else None),
        parity=parity,
        golden_video=video or SAMPLE_CLIP,
        golden_frames=golden_frames,
        golden_source=golden_source,
        released_utc=int(time.time()) if released is None else released,
    )
    index = make_bundle(parts, load_key(key), out)
    if as_json:
        click.echo(json.dumps(index.model_dump(mode="json"), indent=2))
        return
    kinds = "CPU model only (no compiled twin)" if index.compiled is None else "CPU and Edge TPU model"
    click.echo(f"{out}: {index.name}, {len(index.files)} files, {out.stat().st_size / 1e6:.1f} MB, {kinds}")


@click.command()
@click.argument("host")
@click.argument("file", type=_FILE)
@click.option("--command", default="python3 -m edge_app", show_default=True, help="how the application starts there")
@click.option("--trust", type=_FILE, help="public key (.pub) that the device is to trust from now on")
@click.option("--restart", help="command that starts it again there, such as 'sudo systemctl restart edge-app'")
@click.option("--ssh", "options", default="", help="further options of ssh, such as '-p 2222 -i KEY'")
def deploy(host: str, file: Path, command: str, trust: Optional[Path], restart: Optional[str], options: str) -> None:
    """Install bundle FILE on the device HOST over SSH; if it is no good there, the device keeps its model."""
    from training.bundle.deploy import Device  # noqa: PLC0415 - keeps --help quick
    from training.bundle.deploy import deploy as run  # noqa: PLC0415

    run(Device(host, command, tuple(shlex.split(options))), file, trust=trust, restart=restart, say=click.echo)
    click.echo(f"{host}: done")

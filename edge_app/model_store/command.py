"""``python -m edge_app model``: list, verify, install, rollback, trust."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from edge_app.errors import UserError

if TYPE_CHECKING:
    from edge_app.model_store.store import ModelStore

_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")
_STEPS = {
    "fetch": "getting the bundle",
    "check": "checking signature and sizes",
    "unpack": "unpacking, checking hashes",
    "try": "trying the golden frames on this device",
    "keep": "keeping it",
    "switch": "switching to it",
    "tidy": "removing models that are no longer needed",
}


@click.group("model")
def model_commands() -> None:
    """Install model bundles, go back, see what is in use."""


@model_commands.command("list")
@_JSON
def list_models(as_json: bool) -> None:
    """Show installed models, which one is in use, trusted keys and models that were left again."""
    from edge_app.config import DEFAULT_MODEL  # noqa: PLC0415 - keeps --help quick
    from edge_app.model_store.signing import read_trusted  # noqa: PLC0415
    from edge_app.model_store.store import ModelStore  # noqa: PLC0415

    store = ModelStore()
    state = store.state()
    keys = read_trusted(store.keys)
    if as_json:
        content: dict[str, Any] = {
            **state.model_dump(mode="json"),
            "folder": str(store.folder),
            "installed": store.bundles(),
            "trusted_keys": [{"id": key.key_id, "comment": key.comment} for key in keys],
        }
        click.echo(json.dumps(content, indent=2))
        return
    for bundle in store.bundles():
        words = [] if state.current is None or state.current.bundle != bundle else [f"in use ({state.current.variant})"]
        words += ["on trial"] if words and state.on_trial else []
        words += ["the last good one"] if state.previous is not None and state.previous.bundle == bundle else []
        click.echo(f"{bundle}  {_condition(store, bundle)}  {', '.join(words) or 'not in use'}")
    click.echo(f"{DEFAULT_MODEL.stem}  ships with the application{'' if state.current else '  in use'}")
    for failure in state.failures:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(failure.utc_s))
        click.echo(f"left: {failure.bundle} on {when} UTC: {failure.reason}")
    for key in keys:
        click.echo(f"trusted key: {key.key_id} {key.comment}".rstrip())


def _condition(store: ModelStore, bundle: str) -> str:
    from edge_app.model_store.verify import is_whole  # noqa: PLC0415 - keeps --help quick

    if not is_whole(bundle, store):
        return "damaged, install it again"
    return time.strftime("released %Y-%m-%d %H:%M UTC", time.gmtime(store.index_of(bundle).released_utc))


@model_commands.command()
@click.argument("source")
@click.option("--allow-older", is_flag=True, help="accept a bundle released before the one in use")
@_JSON
def install(source: str, allow_older: bool, as_json: bool) -> None:
    """Install a bundle from SOURCE, a file or an http(s) address: check it, try it on this device, switch to it.

    The model in use stays until the new one has passed, and 'run' goes back to it by itself if the new one fails in its
    first minutes. A running 'run' takes the new model when it is started again.
    """
    from edge_app.model_store.install import install as run  # noqa: PLC0415 - keeps --help quick
    from edge_app.model_store.store import ModelStore  # noqa: PLC0415

    done = run(source, ModelStore(), allow_older=allow_older, on_step=lambda step: click.echo(_STEPS[step], err=True))
    if as_json:
        content = {"bundle": done.bundle, "signed_by": done.signed_by, "changed": done.changed, "tests": done.sentences}
        click.echo(json.dumps(content, indent=2))
        return
    for sentence in done.sentences:
        click.echo(sentence)
    name = f"{done.bundle} (signed by {done.signed_by})"
    if done.changed:
        click.echo(f"{name} is in use now, on trial for its first minutes; start 'run' again to take it")
    else:
        click.echo(f"{name} was in use already")


@model_commands.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def verify(file: Optional[Path]) -> None:
    """Check a bundle FILE and try it on this device without installing it; without FILE, the model in use."""
    from edge_app.model_store.install import verify_file  # noqa: PLC0415 - keeps --help quick
    from edge_app.model_store.self_test import try_bundle  # noqa: PLC0415
    from edge_app.model_store.store import ModelStore  # noqa: PLC0415
    from edge_app.model_store.verify import check_unpacked  # noqa: PLC0415

    store = ModelStore()
    if file is not None:
        index, signed_by, tested = verify_file(file, store)
        name = f"{file}: {index.name}, signed by {signed_by}"
    else:
        current = store.state().current
        if current is None:
            raise UserError("the model that ships is in use, which has no bundle; give a bundle FILE to verify")
        folder = store.folder_of(current.bundle)
        key = check_unpacked(folder, store)
        tested = try_bundle(folder, store.index_of(current.bundle))
        name = f"{current.bundle}, signed by {key.key_id} {key.comment}".rstrip()
    click.echo("\n".join(tested.sentences))
    click.echo(f"{name}: all right; this device would use its {tested.variant} model")


@model_commands.command()
def rollback() -> None:
    """Go back to the model before the one in use; the one that ships is the last."""
    from edge_app.config import DEFAULT_MODEL  # noqa: PLC0415 - keeps --help quick
    from edge_app.model_store.install import roll_back  # noqa: PLC0415
    from edge_app.model_store.store import ModelStore  # noqa: PLC0415

    store = ModelStore()
    with store.writing():
        state = roll_back(store, "by hand")
    name = DEFAULT_MODEL.stem if state.current is None else state.current.bundle
    click.echo(f"{name} is in use now; start 'run' again to take it")


@model_commands.command()
@click.argument("key", type=click.Path(path_type=Path, allow_dash=True))
def trust(key: Path) -> None:
    """Accept bundles signed with KEY, the .pub file of 'training bundle-key' (- reads standard input)."""
    from edge_app.model_store.signing import parse_public_key  # noqa: PLC0415 - keeps --help quick
    from edge_app.model_store.store import ModelStore  # noqa: PLC0415

    try:
        text = sys.stdin.read(4096) if str(key) == "-" else key.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"key {key} cannot be read; give the .pub file of 'training bundle-key'") from error
    public = parse_public_key(text, str(key))
    store = ModelStore()
    with store.lock():
        store.keys.mkdir(exist_ok=True)
        path = store.keys / f"{public.key_id}.pub"
        temporary = path.with_suffix(".new")
        temporary.write_text(public.line() + "\n", encoding="utf-8")
        temporary.replace(path)
    click.echo(f"trusted: {public.key_id} {public.comment}".rstrip())

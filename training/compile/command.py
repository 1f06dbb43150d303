"""``python -m training compile``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import click

from edge_app.errors import UserError

_FILE = click.Path(path_type=Path)


@click.command("compile")
@click.argument("model", type=_FILE)
@click.option("--check", is_flag=True, help="predict the result without the compiler")
@click.option("--card", is_flag=True, help="with --check: write the result into the model's card, the .md beside it")
@click.option("-o", "--out-dir", "--out_dir", "out", type=_FILE, help="folder to write to; default: the model's")
@click.option("--image", help="run the compiler in this container image (built from Dockerfile.train)")
@click.option(
    "--allow-on-cpu",
    "allowed",
    multiple=True,
    metavar="NAME=COUNT",
    help="operators that may stay on the CPU, instead of CUSTOM=1 and DEQUANTIZE=2; NAME=0 alone allows none",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("-m", "--min_runtime_version", "min_runtime", type=click.IntRange(10), help="of the compiler")
@click.option(
    "-a", "--enable_multiple_subgraphs", "several", is_flag=True, help="of the compiler; experimental, may be slower"
)
@click.option(
    "-i", "--intermediate_tensors", "tensors", metavar="NAME,…", help="of the compiler: end the mapped part there"
)
@click.option(
    "-d", "--search_delegate", "search", is_flag=True, help="of the compiler: try with fewer and fewer operators"
)
@click.option("-k", "--delegate_search_step", "step", type=click.IntRange(1), help="of the compiler, with -d")
@click.option("-t", "--timeout_sec", "timeout_s", type=click.IntRange(1), help="of the compiler; its default is 180")
def compile_model(
    model: Path,
    check: bool,
    card: bool,
    out: Optional[Path],
    image: Optional[str],
    allowed: tuple[str, ...],
    as_json: bool,
    min_runtime: Optional[int],
    several: bool,
    tensors: Optional[str],
    search: bool,
    step: Optional[int],
    timeout_s: Optional[int],
) -> int:
    """Compile MODEL for the Edge TPU and read what the compiler says, or predict it with --check.

    Fails (status 1) when the compiler does, and on what it calls a success but is none: nothing mapped, or operators on
    the CPU beyond the allowed ones.
    """
    from training.compile.verdict import POST_PROCESS_ON_CPU  # noqa: PLC0415 - keeps --help quick

    may = _allowed(allowed) if allowed else POST_PROCESS_ON_CPU
    if check:
        return _check(model, may, several, card, as_json)
    if card:
        raise click.UsageError("--card goes with --check")
    if step is not None and not search:
        raise click.UsageError("--delegate_search_step goes with --search_delegate")
    options = _options(min_runtime, several, tensors, search, step, timeout_s)
    return _compile(model, out or model.parent, options, image, may, as_json)


def _check(model: Path, may: Any, several: bool, card: bool, as_json: bool) -> int:
    from training.compile.check import predict  # noqa: PLC0415 - keeps --help quick
    from training.compile.model_card import write_section  # noqa: PLC0415
    from training.compile.table import as_json as to_json  # noqa: PLC0415
    from training.compile.table import format_prediction  # noqa: PLC0415
    from training.compile.verdict import judge  # noqa: PLC0415

    prediction = predict(model, several_subgraphs=several)
    verdict = judge(prediction.report, may)
    if as_json:
        content = {
            "predicted": True,
            **to_json(prediction.report, verdict),
            "operators": list(prediction.statuses),
            "versions": {name: {"model": have, "compiler": most} for name, (have, most) in prediction.versions.items()},
            "parameter_bytes": prediction.parameter_bytes,
            "largest_activation": dict(zip(("tensor", "bytes"), prediction.largest_activation)),
        }
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo(format_prediction(prediction))
    if card:
        click.echo(write_section(model, prediction, verdict), err=True)
    click.echo(f"predicted: {verdict.sentence}", err=not verdict.ok or as_json)
    return 0 if verdict.ok else 1


def _compile(model: Path, out: Path, options: list[str], image: Optional[str], may: Any, as_json: bool) -> int:
    from training.compile.compiler import run_compiler  # noqa: PLC0415 - keeps --help quick
    from training.compile.table import as_json as to_json  # noqa: PLC0415
    from training.compile.table import format_report  # noqa: PLC0415
    from training.compile.twin import write_compiled_manifest  # noqa: PLC0415
    from training.compile.verdict import judge  # noqa: PLC0415

    compilation = run_compiler(model, out, options, image=image)
    report, verdict = compilation.report, judge(compilation.report, may)
    manifest = None
    if verdict.ok and compilation.output is not None:
        manifest = write_compiled_manifest(model, compilation)
    if as_json:
        content = {
            **to_json(report, verdict),
            "output": None if compilation.output is None else str(compilation.output),
            "manifest": None if manifest is None else str(manifest),
            "min_runtime_version": compilation.min_runtime_version,
        }
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo(format_report(report))
        for line in report.errors:
            click.echo(f"compiler: {line}", err=True)
        if compilation.min_runtime_version is not None:
            click.echo(f"needs Edge TPU runtime {compilation.min_runtime_version} or later")
    click.echo(verdict.sentence, err=not verdict.ok or as_json)
    return 0 if verdict.ok else 1


def _options(
    min_runtime: Optional[int],
    several: bool,
    tensors: Optional[str],
    search: bool,
    step: Optional[int],
    timeout_s: Optional[int],
) -> list[str]:
    options: list[str] = []
    for name, value in (
        ("--min_runtime_version", min_runtime),
        ("--intermediate_tensors", tensors),
        ("--delegate_search_step", step),
        ("--timeout_sec", timeout_s),
    ):
        if value is not None:
            options += [name, str(value)]
    options += ["--enable_multiple_subgraphs"] if several else []
    return [*options, "--search_delegate"] if search else options


def _allowed(texts: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in texts:
        name, _, count = text.partition("=")
        if not name or not count.isdigit():
            raise UserError(f"--allow-on-cpu {text} is not NAME=COUNT; write for example CUSTOM=1")
        found[name.upper()] = int(count)
    return found

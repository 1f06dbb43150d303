"""The Edge TPU section of a model's card: written and refreshed by ``compile --check --card``."""

from __future__ import annotations

from pathlib import Path

from edge_app.errors import UserError
from edge_app.manifest import load_manifest
from training.compile.check import Prediction
from training.compile.log import CompilerReport
from training.compile.table import format_rows, version_sentence
from training.compile.verdict import Verdict

_START, _END = "<!-- compile-check: written by the command below -->", "<!-- end of compile-check -->"


def write_section(model: Path, prediction: Prediction, verdict: Verdict) -> Path:
    """Put the predicted mapping into the card beside the model, in place of the one that is there.

    Raises:
        UserError: the model has no card, or it cannot be written.
    """
    card = model.with_suffix(".md")
    try:
        text = card.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"card {card} cannot be read ({error.strerror}); write the model's card first") from error
    section = f"{_START}\n{_section(model, prediction, verdict)}\n{_END}"
    before, found, rest = text.partition(_START)
    if found:
        _, ended, after = rest.partition(_END)
        if not ended:
            raise UserError(
                f"card {card} has the start of the compile-check section but not its end; put '{_END}' after it"
            )
        text = before + section + after
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    try:
        card.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"card {card} cannot be written ({error.strerror}); check its permissions") from error
    return card


def _section(model: Path, prediction: Prediction, verdict: Verdict) -> str:
    report = prediction.report
    lines = ["## Edge TPU", "", _twin(model), "", f"Predicted without the compiler: {verdict.sentence}.", ""]
    if not report.failed:
        lines += ["```", format_rows(report.rows), "```", "", _counts(report), ""]
        lines += [f"{prediction.memory_sentence[0].upper()}{prediction.memory_sentence[1:]}.", ""]
    sentence = version_sentence(prediction.versions)
    lines += [
        f"{sentence[0].upper()}{sentence[1:]}.",
        "",
        "```",
        f"python -m training compile --check --card models/{model.name}",
    ]
    return "\n".join([*lines, "```"])


def _counts(report: CompilerReport) -> str:
    parts = "one part" if report.subgraphs == 1 else f"{report.subgraphs} parts"
    return f"{report.mapped_operations} operators in {parts} on the Edge TPU, {report.cpu_operations} on the CPU."


def _twin(model: Path) -> str:
    compiled = model.with_name(f"{model.stem}_edgetpu.tflite")
    manifest = load_manifest(compiled) if compiled.is_file() else None
    if manifest is None or manifest.compiled is None:
        return (
            "There is no compiled twin here: the compiler was not at hand, and nothing was run on an Edge TPU. On\n"
            "x86-64 Linux with the Edge TPU compiler this makes it:\n\n"
            f"```\npython -m training compile models/{model.name}\n```"
        )
    spec = manifest.compiled
    return (
        f"Compiled twin: `{compiled.name}`, made by compiler {spec.compiler_version}; it needs Edge TPU runtime "
        f"{spec.min_runtime_version or 'unknown'} or later, {spec.mapped_operators} operators are mapped."
    )

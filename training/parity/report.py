"""Writes a comparison as Markdown, JSON and one HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from edge_app.errors import UserError
from training.evaluation.metrics import FIXED_PRECISION
from training.export.operators import PUBLISHED
from training.parity.measure import Disagreement, ModelOnSet, Parity

_PICTURE_NOTE = "Left the reference (blue), right the model (orange), labels white."

Table = tuple[str, list[str], list[list[str]]]


def write_report(parity: Parity, pictures: Sequence[tuple[Path, Disagreement]], out: Path) -> None:
    """Write ``parity.md``, ``parity.json`` and ``parity.html`` into ``out``.

    Raises:
        UserError: the folder cannot be written.
    """
    tables = _tables(parity)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "parity.json").write_text(json.dumps(_as_json(parity), indent=2) + "\n", encoding="utf-8")
        (out / "parity.md").write_text(_markdown(parity, tables, pictures, out), encoding="utf-8")
        (out / "parity.html").write_text(_page(parity, tables, pictures), encoding="utf-8")
    except OSError as error:
        raise UserError(f"folder {out} cannot be written ({error.strerror}); give another --out") from error


def summary_lines(parity: Parity) -> str:
    """Return the tables as text for a terminal."""
    return "\n\n".join(f"{title}\n{_plain(header, rows)}" for title, header, rows in _tables(parity))


def _tables(parity: Parity) -> list[Table]:
    tables = [_accuracy(name, rows) for name, rows in parity.results.items()]
    tables += [_heights(name, rows) for name, rows in parity.results.items()]
    return [*tables, _operators(parity), _sizes(parity)]


def _accuracy(name: str, rows: dict[str, ModelOnSet]) -> Table:
    first = next(iter(rows.values())).scores
    header = ["model", "AP", "AP50", "AP75", f"recall at precision {FIXED_PRECISION:g}",
              "AP50 less reference", "95 % interval", "mean IoU", "score change", "lost", "extra"]  # fmt: skip
    lines = []
    for model, item in rows.items():
        scores = item.scores
        line = [model, *(f"{value:.3f}" for value in (scores.ap, scores.ap50_all_points, scores.ap75,
                                                      scores.recall_at_precision))]  # fmt: skip
        if item.difference is None or item.interval is None:
            line += ["reference", "", "", "", "", ""]
        else:
            low, high = item.interval
            same = ["", ""] if item.agreement is None else [f"{value:.3f}" for value in item.agreement]
            line += [f"{item.difference:+.3f}", f"{low:+.3f} to {high:+.3f}", *same, str(item.lost), str(item.extra)]
        lines.append(line)
    return f"Accuracy on {name}: {first.pictures} pictures, {first.people} people", header, lines


def _heights(name: str, rows: dict[str, ModelOnSet]) -> Table:
    bands = next(iter(rows.values())).scores.by_height
    header = ["model", *(f"{band} px ({int(row['people'])})" for band, row in bands.items())]
    lines = [[model, *(_number(row["ap50"]) for row in item.scores.by_height.values())] for model, item in rows.items()]
    return f"AP50 on {name} by height in a picture of 300 rows (people)", header, lines


def _operators(parity: Parity) -> Table:
    tables = {**PUBLISHED, **{model.name: model.operators for model in parity.models if model.operators}}
    names = sorted({name for table in tables.values() for name in table})
    lines = [[name, *(str(table.get(name, 0)) for table in tables.values())] for name in names]
    return "Operators, beside the published tables", ["operator", *tables], lines


def _sizes(parity: Parity) -> Table:
    lines = [
        [model.name, f"{model.size_bytes / 1e6:.2f}", "" if model.latency_ms is None else f"{model.latency_ms:.1f}"]
        for model in parity.models
    ]
    title = f"Size and latency (median of {parity.rounds} interleaved rounds on this machine's CPU; not an Edge TPU)"
    return title, ["model", "MB", "ms"], lines


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"  # noqa: PLR0124 - not a number


def _plain(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(line[index]) for line in [header, *rows]) for index in range(len(header))]
    lines = []
    for line in [header, *rows]:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _notes(parity: Parity) -> list[str]:
    return [
        f"The reference is {parity.models[0].name}. Intervals are paired: blocks of {parity.block} pictures in a row "
        "are drawn with replacement, the same ones for both models.",
        "Mean IoU, score change, lost and extra compare detections with a score of 0.4 or more with the reference's.",
    ]


def _markdown(parity: Parity, tables: Sequence[Table], pictures: Sequence[tuple[Path, Disagreement]], out: Path) -> str:
    lines = ["# Parity", "", *_notes(parity), ""]
    for title, header, rows in tables:
        lines += [f"## {title}", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines.append("")
    if pictures:
        lines += ["## Where they differ most", "", _PICTURE_NOTE, ""]
        for path, one in pictures:
            lines += [f"{_caption(one)}", "", f"![{_caption(one)}]({path.relative_to(out).as_posix()})", ""]
    return "\n".join(lines)


def _page(parity: Parity, tables: Sequence[Table], pictures: Sequence[tuple[Path, Disagreement]]) -> str:
    environment = Environment(
        loader=PackageLoader("training.parity"), autoescape=select_autoescape(["html"]), trim_blocks=True
    )
    shown = [
        (_caption(one), "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii"))
        for path, one in pictures
    ]
    return environment.get_template("parity.html").render(notes=_notes(parity), tables=tables, pictures=shown)


def _caption(one: Disagreement) -> str:
    return f"{one.data}, picture {one.image_id}: {one.model}"


def _as_json(parity: Parity) -> dict[str, Any]:
    return {
        "reference": parity.models[0].name,
        "block": parity.block,
        "rounds": parity.rounds,
        "models": [{**asdict(model), "path": model.path.name} for model in parity.models],
        "results": {
            name: {model: asdict(item) for model, item in rows.items()} for name, rows in parity.results.items()
        },
    }

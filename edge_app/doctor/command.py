"""``python -m edge_app doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="configuration file (YAML)")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def doctor(config_path: Optional[Path], as_json: bool) -> int:
    """Check runtime, Edge TPU, model, camera, disk, memory, clock; each finding says how to mend it.

    Exit status 1 if something does not work.
    """
    from edge_app.config import load_config  # noqa: PLC0415 - keeps --help quick
    from edge_app.doctor.examine import examine, findings_json, format_findings  # noqa: PLC0415

    findings = examine(load_config(config_path))
    click.echo(findings_json(findings) if as_json else format_findings(findings))
    return int(any(finding.level == "error" for finding in findings))

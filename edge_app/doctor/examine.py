"""All checks, in the order in which one explains the next."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from edge_app.config import Config
from edge_app.delegate_probe import probe_delegate
from edge_app.doctor.camera import check_source
from edge_app.doctor.edgetpu import check_delegate, check_devices, find_accelerators
from edge_app.doctor.findings import Finding
from edge_app.doctor.model import check_model, check_store, needs_edgetpu
from edge_app.doctor.runtime import check_runtime, installed_versions
from edge_app.doctor.system import check_clock, check_disk, check_memory, check_temperature
from edge_app.model_store.store import ModelStore
from edge_app.state_folder import state_folder

_SIGNS = {"ok": "ok", "note": "note", "warning": "WARNING", "error": "PROBLEM"}


def examine(config: Config) -> list[Finding]:
    """Run every check on this machine."""
    model = config.model.path
    return [
        *check_runtime(installed_versions(), sys.version_info[:2]),
        *check_devices(),
        *check_delegate(probe_delegate(), bool(find_accelerators()), needs_edgetpu(model)),
        check_model(model),
        *check_store(ModelStore()),
        *_check_cameras(config),
        check_disk(state_folder()),
        check_memory(),
        check_clock(),
        *check_temperature(),
    ]


def _check_cameras(config: Config) -> list[Finding]:
    """Check the source of each camera; where there are several its name is said."""
    found = {name: check_source(camera.source.uri) for name, camera in config.for_each_camera().items()}
    if not config.cameras:
        return list(found.values())
    return [replace(finding, check=f"{finding.check} {name}") for name, finding in found.items()]


def format_findings(findings: Sequence[Finding]) -> str:
    """Return the findings for people: one line each, and one for each fix."""
    lines = []
    for finding in findings:
        lines.append(f"{_SIGNS[finding.level]:<8} {finding.check}: {finding.sentence}")
        if finding.fix and finding.level != "ok":
            lines.append(f"{'':<8} fix: {finding.fix}")
    problems = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    return "\n".join([*lines, "", f"{problems} problems, {warnings} warnings"])


def findings_json(findings: Sequence[Finding]) -> str:
    """Return the findings as JSON."""
    content = {
        "ok": not any(finding.level == "error" for finding in findings),
        "findings": [asdict(f) for f in findings],
    }
    return json.dumps(content, indent=2)

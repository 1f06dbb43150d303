"""The manifest of a compiled model, made from that of its CPU twin."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from edge_app.manifest import CompiledSpec, load_manifest, manifest_path, sha256_of
from training.compile.compiler import Compilation


def write_compiled_manifest(model: Path, compilation: Compilation) -> Optional[Path]:
    """Write the manifest beside a compiled model: its own hash, the twin's inputs, outputs and origin.

    Returns:
        The manifest's path, or None where the twin has no manifest to take them from.

    Raises:
        UserError: the twin's manifest is not valid.
    """
    twin, output = load_manifest(model), compilation.output
    if twin is None or output is None:
        return None
    spec = CompiledSpec(
        cpu_twin=model.name,
        cpu_twin_sha256=twin.sha256,
        compiler_version=compilation.report.compiler_version or "",
        min_runtime_version=compilation.min_runtime_version,
        mapped_operators=compilation.report.mapped_operations or 0,
        cpu_operators=compilation.report.left_on_cpu(),
    )
    manifest = twin.model_copy(
        update={"name": output.stem, "file": output.name, "sha256": sha256_of(output), "compiled": spec}
    )
    manifest.write(manifest_path(output))
    return manifest_path(output)

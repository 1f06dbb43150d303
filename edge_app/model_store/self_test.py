"""Tries an unpacked bundle on this device, in a process of its own: a model may kill the runtime, not the installer."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional, get_args

from edge_app.delegate_probe import probe_delegate
from edge_app.errors import UserError
from edge_app.manifest import load_manifest
from edge_app.model_store.bundle import BundleIndex
from edge_app.model_store.golden import Trial, read_golden, try_model
from edge_app.model_store.store import Variant, read_index_of

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class SelfTest:
    """How a bundle did on this device.

    Attributes:
        variant: the model that fits it.
        sentences: for people, one for each model that was tried or left out.
    """

    variant: Variant
    sentences: tuple[str, ...]


def try_bundle(folder: Path, index: BundleIndex) -> SelfTest:
    """Run the golden frames: the CPU model always, twice; the compiled one too where an Edge TPU is ready.

    With reference kernels everybody gets the same boxes, so the limits are tight: they find a wrong file, a runtime
    that computes something else, or a picture that is prepared differently. Then come the kernels that will be used.

    Raises:
        UserError: a model is not the one of its manifest, can't run here, or finds other people than it must.
    """
    sentences = [_try_in_child(folder, index, "reference"), _try_in_child(folder, index, "cpu")]
    if index.compiled is None:
        return SelfTest("cpu", tuple(sentences))
    probe = probe_delegate()
    reason = probe.fault or _runtime_too_old(folder / index.compiled, probe.runtime_version)
    if reason is not None:
        return SelfTest("cpu", (*sentences, f"the Edge TPU model is not used: {reason}"))
    sentences.append(_try_in_child(folder, index, "edgetpu"))
    return SelfTest("edgetpu", tuple(sentences))


def _runtime_too_old(model: Path, runtime_version: Optional[int]) -> Optional[str]:
    manifest = load_manifest(model)
    needed = None if manifest is None or manifest.compiled is None else manifest.compiled.min_runtime_version
    if needed is None or runtime_version is None or runtime_version >= needed:
        return None
    return f"it needs Edge TPU runtime {needed} and this device has {runtime_version}; update libedgetpu"


def _try_in_child(folder: Path, index: BundleIndex, trial: Trial) -> str:
    command = [sys.executable, "-m", "edge_app.model_store.self_test", str(folder), trial]
    model = index.compiled if trial == "edgetpu" else index.model
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{model} did not finish its golden frames within {_TIMEOUT_S:.0f} s on this device") from error
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        raise UserError(f"{model} ends its process on this device (status {done.returncode}); it stays uninstalled")
    result = json.loads(done.stdout.splitlines()[-1])
    return (
        f"{model}: {result['people']} people in {result['frames']} golden frames, overlap at least "
        f"{result['worst_iou']:.3f}, scores within {result['worst_score_difference']:.3f} ({result['runtime']})"
    )


def main() -> int:
    """The child: try one model, print the result as JSON."""
    folder, asked = Path(sys.argv[1]), sys.argv[2]
    try:
        trial = next(known for known in get_args(Trial) if known == asked)
        index = read_index_of(folder)
        model = index.compiled if trial == "edgetpu" else index.model
        if model is None:
            raise UserError(f"{folder} has no model for the Edge TPU")
        golden = read_golden(folder / index.golden)
        result = try_model(folder, model, golden, trial)
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

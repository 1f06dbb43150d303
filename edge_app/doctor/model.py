"""The configured model: there, whole, loadable here; and what the store of installed models says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_app.doctor.findings import Finding, ok
from edge_app.errors import UserError
from edge_app.interpreter import is_for_edgetpu
from edge_app.model_store.store import ModelStore

_TIMEOUT_S = 120.0
# In a process of its own: a runtime that does not fit may end its process.
_LOAD = (
    "import sys; from pathlib import Path; from edge_app.config import ModelConfig; "
    "from edge_app.detector import load_detector; from edge_app.errors import UserError\n"
    "try: found = load_detector(ModelConfig(path=Path(sys.argv[1])))\n"
    "except UserError as error: sys.exit(' '.join(str(error).split()))\n"
    "print(found.name, 'in', found.runtime)"
)


def needs_edgetpu(path: Path) -> bool:
    """Tell whether a model file is compiled for the Edge TPU."""
    return is_for_edgetpu(path)


def check_model(path: Path, python: str = sys.executable) -> Finding:
    """Load the model in a child process."""
    if not path.is_file():
        return Finding(
            "model",
            "error",
            f"model {path} does not exist",
            "install one with 'edge_app model install', or correct model.path",
        )
    try:
        done = subprocess.run(
            [python, "-c", _LOAD, str(path)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        fix = "unplug the Edge TPU and plug it in, or use the model's CPU twin"
        return Finding("model", "error", f"model {path.name} does not load within {_TIMEOUT_S:.0f} s", fix)
    if done.returncode == 0:
        return ok("model", f"model {done.stdout.strip()} loads")
    lines = done.stderr.strip().splitlines()
    if done.returncode < 0:
        fix = "see what 'delegate' and 'runtime' say above"
        return Finding(
            "model", "error", f"loading model {path.name} kills the process (signal {-done.returncode})", fix
        )
    if done.stderr.startswith("Traceback"):
        # Nobody expected this one: it is told as it is, beside the model's name.
        sentence = f"model {path.name} does not load ({lines[-1][:200]})"
        return Finding("model", "error", sentence, "see what 'runtime' says above")
    sentence, _, fix = (lines[-1] if lines else "the model does not load").partition("; ")
    return Finding("model", "error", sentence, fix or "see what 'runtime' says above")


def check_store(store: ModelStore) -> list[Finding]:
    """Say which installed model is in use, whether it is on trial, and which one was left last."""
    try:
        state = store.state()
        if state.current is not None and not store.path_of(state.current).is_file():
            raise UserError(f"the installed model {state.current.bundle} is not complete; install it again")
    except UserError as error:
        sentence, _, fix = str(error).partition("; ")
        return [Finding("installed models", "error", sentence, fix)]
    findings = []
    if state.failures:
        last = state.failures[-1]
        findings.append(
            Finding(
                "installed models",
                "warning" if last.reason != "by hand" else "note",
                f"{last.bundle} was left again: {last.reason}",
                "install a corrected bundle",
            )
        )
    if state.current is None:
        return [*findings, ok("installed models", "the model that ships is in use")]
    trial = ", on trial" if state.on_trial else ""
    return [*findings, ok("installed models", f"{state.current.bundle} ({state.current.variant}) is in use{trial}")]

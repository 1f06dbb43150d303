"""Compiler logs in the form of version 16, with names and numbers of our own."""

from __future__ import annotations

VERSION = "Edge TPU Compiler version 16.0.384591198\n"
STARTED = "Started a compilation timeout timer of 180 seconds.\n"
ENDED = "Compilation child process completed within timeout period.\n"
SUCCEEDED = f"{ENDED}Compilation succeeded! \n"
FAILED = f"{ENDED}Compilation failed! \n"


def table(*rows: tuple[str, int, str]) -> str:
    """The operator table."""
    lines = ["Operator                       Count      Status", ""]
    return "\n".join([*lines, *(f"{name:<31}{count:<11}{status}" for name, count, status in rows)]) + "\n"


def success(mapped: int, on_cpu: int, *, subgraphs: int = 1, rows: str = "", name: str = "people") -> str:
    """Standard output of a compilation that the compiler calls a success."""
    left = (
        "Model successfully compiled but not all operations are supported by the Edge TPU.\n"
        f"Number of operations that will run on Edge TPU: {mapped}\n"
        f"Number of operations that will run on CPU: {on_cpu}\n"
    )
    return (
        f"{VERSION}{STARTED}\nModel compiled successfully in 812 ms.\n\n"
        f"Input model: {name}.tflite\nInput size: 3.50MiB\nOutput model: {name}_edgetpu.tflite\nOutput size: 4.25MiB\n"
        "On-chip memory used for caching model parameters: 3.75MiB\n"
        "On-chip memory remaining for caching model parameters: 512.00KiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
        f"Number of Edge TPU subgraphs: {subgraphs}\nTotal number of operations: {mapped + on_cpu}\n"
        f"Operation log: {name}_edgetpu.log\n\n{left if on_cpu else ''}\n{rows}{SUCCEEDED}"
    )


def failure(*lines: str) -> str:
    """Standard output of a compilation that failed with these lines."""
    return VERSION + STARTED + "".join(f"{line}\n" for line in lines) + FAILED

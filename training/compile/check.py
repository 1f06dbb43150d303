"""Predicts what the Edge TPU compiler makes of a model, without the compiler.

The order is the compiler's: can it read the model, has every tensor a fixed size, is it quantised, then which
operators it takes. One cut is made: the first part of the graph that it can take goes to the Edge TPU, the rest stays
on the CPU. A prediction: sizes that make the compiler run out of memory or time are beyond it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edge_app.errors import UserError
from training.compile.graph import Graph, Operator, Tensor, read_graph
from training.compile.log import MAPPED, CompilerReport, OperatorRow
from training.compile.op_rules import SUBGRAPH, status_alone
from training.compile.op_versions import MAX_VERSION, parse_failure
from training.compile.partition import partition

DYNAMIC = (
    "Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized tensors."
)
NOT_QUANTIZED = "Model not quantized"

# Operators whose output takes its size from the values of an input → which input that is.
_SIZED_BY = {
    "BATCH_TO_SPACE_ND": (1, 2), "BROADCAST_TO": (1,), "EXPAND_DIMS": (1,), "FILL": (0,), "MEAN": (1,),
    "MIRROR_PAD": (1,), "ONE_HOT": (1,), "PAD": (1,), "PADV2": (1,), "RANGE": (0, 1, 2), "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,), "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,), "SLICE": (1, 2), "SPACE_TO_BATCH_ND": (1, 2),
    "SPLIT": (0,), "STRIDED_SLICE": (1, 2, 3), "SUM": (1,), "TILE": (1,), "TOPK_V2": (1,), "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}  # fmt: skip
# Their outputs have as many elements as the data ask for.
_NEVER_SIZED = ("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")

# What the compiler logs at hand had for parameters, used and free together: 6.9 to 8.05 MiB. It depends on what the
# executable itself takes.
CACHE_LEAST_BYTES = round(6.86 * (1 << 20))
CACHE_MOST_BYTES = round(8.05 * (1 << 20))
# Parameters in the compiled file against constants in the model: 1.13, 1.18, 1.33 in three public pairs of MobileNets.
_PADDING = (1.1, 1.35)


@dataclass(frozen=True)
class Prediction:
    """What the compiler is expected to say.

    Attributes:
        report: in the form of a real log; memory is left out, see ``parameter_bytes``.
        statuses: the compiler's words for each operator, in the file's order; empty when compilation fails.
        versions: operator → (highest version in the model, highest that the compiler reads).
        parameter_bytes: constants of the mapped operators, before the compiler pads them.
        largest_activation: name and bytes of the largest tensor between operators.
    """

    report: CompilerReport
    statuses: tuple[str, ...]
    versions: dict[str, tuple[int, int]]
    parameter_bytes: int
    largest_activation: tuple[str, int]

    @property
    def memory_sentence(self) -> str:
        """Whether the parameters stay on the chip or some are sent to it at every inference."""
        low, high = (round(self.parameter_bytes * factor) for factor in _PADDING)
        about = f"about {low / (1 << 20):.1f} to {high / (1 << 20):.1f} MiB of parameters"
        if high <= CACHE_LEAST_BYTES:
            return f"{about}: they fit into the Edge TPU's memory"
        if low > CACHE_MOST_BYTES:
            return f"{about}: more than the Edge TPU's memory holds; the rest is streamed at every inference"
        return f"{about}: they may not fit into the Edge TPU's memory (6.9 to 8 MiB); the rest would be streamed"


def predict(path: Path, *, several_subgraphs: bool = False) -> Prediction:
    """Predict the compilation of a model file.

    Args:
        path: the model, not yet compiled.
        several_subgraphs: as with the compiler's option ``-a``.

    Raises:
        UserError: the file is missing, damaged, or already compiled.
    """
    graph = read_graph(path)
    if graph.compiled_parts():
        raise UserError(f"model {path} is already compiled for the Edge TPU; give the model that it was made from")
    return predict_graph(graph, str(path), several_subgraphs=several_subgraphs)


def predict_graph(graph: Graph, name: str = "model", *, several_subgraphs: bool = False) -> Prediction:
    """Predict the compilation of a model that was read; see :func:`predict`."""
    errors = _failures(graph)
    statuses = () if errors else _statuses(graph, several_subgraphs)
    mapped = [operator for operator, status in zip(graph.operators, statuses) if status == MAPPED]
    report = CompilerReport(
        input_model=name,
        subgraphs=None if errors else _count_parts(graph, statuses),
        operations=len(graph.operators),
        mapped_operations=None if errors else len(mapped),
        cpu_operations=None if errors else len(graph.operators) - len(mapped),
        rows=_rows(graph, statuses),
        errors=errors,
        failed=bool(errors),
    )
    return Prediction(report, statuses, _versions(graph), _parameter_bytes(graph, mapped), _largest_activation(graph))


def _failures(graph: Graph) -> tuple[str, ...]:
    """Return the compiler's error lines, in the order in which it would meet them; empty if it compiles."""
    unread = [line for line in map(parse_failure, graph.operators) if line]
    if unread:
        # The interpreter names the first; people want all of them at once.
        return tuple(dict.fromkeys(unread))
    if _unsized(graph) is not None:
        return (DYNAMIC,)
    if not any(tensor.quantized and tensor.type in ("INT8", "UINT8") for tensor in graph.tensors):
        return (NOT_QUANTIZED,)
    return ()


def _unsized(graph: Graph) -> Optional[Operator]:
    """Return an operator with an output whose size is only known at run time, or None."""
    for operator in graph.operators:
        if operator.name in _NEVER_SIZED:
            return operator
        inputs = [graph.tensors[position] for position in operator.inputs]
        sizes = [inputs[position] for position in _SIZED_BY.get(operator.name, ()) if position < len(inputs)]
        if any(not tensor.constant for tensor in sizes):
            return operator
    return None


def _statuses(graph: Graph, several_subgraphs: bool) -> tuple[str, ...]:
    statuses = [status_alone(graph, operator) for operator in graph.operators]
    parts = partition(graph, [status == MAPPED for status in statuses])
    on_tpu = [operators for delegated, operators in parts if delegated]
    for operators in [] if several_subgraphs else on_tpu[1:]:
        for index in operators:
            statuses[index] = SUBGRAPH
    return tuple(statuses)


def _count_parts(graph: Graph, statuses: tuple[str, ...]) -> int:
    return sum(delegated for delegated, _ in partition(graph, [status == MAPPED for status in statuses]))


def _rows(graph: Graph, statuses: tuple[str, ...]) -> tuple[OperatorRow, ...]:
    counts = Counter((operator.name, status) for operator, status in zip(graph.operators, statuses))
    return tuple(OperatorRow(name, count, status) for (name, status), count in counts.items())


def _versions(graph: Graph) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for operator in graph.operators:
        if operator.name != "CUSTOM":
            highest = max(operator.version, found.get(operator.name, (0, 0))[0])
            found[operator.name] = (highest, MAX_VERSION.get(operator.name, 0))
    return found


def _parameter_bytes(graph: Graph, operators: list[Operator]) -> int:
    positions = {position for operator in operators for position in operator.inputs}
    return sum(len(graph.tensors[position].content or b"") for position in positions)


def _largest_activation(graph: Graph) -> tuple[str, int]:
    sizes = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "FLOAT16": 2, "INT16": 2}

    def size(tensor: Tensor) -> int:
        count = sizes.get(tensor.type, 1)
        for edge in tensor.shape:
            count *= edge
        return count

    activations = graph.activations(tuple(range(len(graph.tensors))))
    largest = max(activations, key=size, default=None)
    return ("", 0) if largest is None else (largest.name, size(largest))

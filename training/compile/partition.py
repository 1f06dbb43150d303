"""How TensorFlow Lite cuts a graph for a delegate, after its documented algorithm."""

from __future__ import annotations

from collections.abc import Sequence

from training.compile.graph import Graph


def partition(graph: Graph, delegated: Sequence[bool]) -> list[tuple[bool, list[int]]]:
    """Cut a graph into parts that run one after the other, each on one processor.

    A part takes every operator of its kind whose inputs are ready, until there are no more; its kind is that of the
    first operator that is ready. So operators beside an unsupported one may still belong to the first part.

    Args:
        graph: the model.
        delegated: for each operator, whether the delegate takes it.

    Returns:
        (on the delegate, operators) of each part, in order.
    """
    ready = {position for position, tensor in enumerate(graph.tensors) if tensor.constant or tensor.variable}
    made = {position for operator in graph.operators for position in operator.outputs}
    ready |= set(range(len(graph.tensors))) - made
    waiting = list(range(len(graph.operators)))
    parts: list[tuple[bool, list[int]]] = []
    while waiting:
        part: list[int] = []
        kind = None
        grew = True
        while grew:
            grew = False
            for index in tuple(waiting):
                operator = graph.operators[index]
                if not ready.issuperset(operator.inputs) or kind not in (None, delegated[index]):
                    continue
                kind = delegated[index]
                part.append(index)
                waiting.remove(index)
                ready.update(operator.outputs)
                grew = True
        if kind is None:
            raise ValueError("the graph has a cycle")
        parts.append((kind, part))
    return parts

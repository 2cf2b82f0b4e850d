"""The backward pass of a NumPy class: statements in reverse, gradients added where they meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnspec.backends.variables import RUNNING, Item, Names, Plan
from cnnspec.backends.writer import Writer, literal
from cnnspec.graph import Graph, Value


def write_backward(
    graph: Graph,
    writer: Writer,
    body: Sequence[Item],
    local: Plan,
    backs: Sequence[str],
    outputs: Mapping[str, Value],
    names: Names,
) -> None:
    """`backward(g)`: from the gradient of the outputs to that of the inputs.

    Args:
        graph: the network.
        writer: inside the forward method.
        body: the statements, in order.
        local: the name of every value.
        backs: the closure that each statement has returned.
        outputs: what the method returns, by name.
        names: the names that are taken.
    """
    gradient: dict[str, str] = {}

    def named(value: Value) -> str:
        if value.id not in gradient:
            variable = local[value]
            gradient[value.id] = "g" if variable == RUNNING else names.take(f"g_{variable}")
        return gradient[value.id]

    known: set[str] = set()
    single = len(outputs) == 1
    argument = named(next(iter(outputs.values()))) if single else "gradients"
    with writer.indented(f"def backward({argument}):"):
        if single:
            known.add(next(iter(outputs.values())).id)
        else:
            for name, value in outputs.items():
                given = f"gradients[{literal(name)}]"
                if value.id in known:
                    given = f"{named(value)} + {given}"
                writer.line(f"{named(value)} = {given}")
                known.add(value.id)
        for item, back in zip(reversed(body), reversed(backs), strict=True):
            call = f"{back}({named(item.value)})"
            if len(item.reads) == 1:
                (value,) = item.reads
                target = named(value)
                added = f"{target} + {call}" if value.id in known else call
                writer.line(f"{target} = {added}")
                known.add(value.id)
                continue
            targets, extra = [], []
            for value in item.reads:
                if value.id in known:
                    part = names.take(f"{named(value)}_part")
                    targets.append(part)
                    extra.append((named(value), part))
                else:
                    targets.append(named(value))
                    known.add(value.id)
            writer.line(f"{', '.join(targets)} = {call}")
            for target, part in extra:
                writer.line(f"{target} = {target} + {part}")
        if len(graph.inputs) == 1:
            writer.line(f"return {named(graph.inputs[0])}")
        else:
            entries = ", ".join(f"{literal(i.name)}: {named(i)}" for i in graph.inputs)
            writer.line(f"return {{{entries}}}")

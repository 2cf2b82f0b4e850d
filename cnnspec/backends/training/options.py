"""The function `parameter_options`: how single parameters are trained, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnspec.backends.training import section
from cnnspec.backends.writer import Code, Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Group

NAME = "parameter_options"


def has(graph: Graph) -> bool:
    """Whether there is any parameter that is trained otherwise."""
    return bool(section(graph).groups) or any(not node.trainable for node in graph.nodes)


def freezes(graph: Graph) -> bool:
    """Whether any parameter is not trained."""
    return bool(graph.frozen())


def write(graph: Graph, writer: Writer) -> None:
    """Write it: a dict of options, or None for a parameter that is not trained."""
    names = [name for name, param in graph.params().items() if not param.statistic]
    frozen = [f"{node.id}." for node in graph.nodes if not node.trainable and node.owner is None]
    paths = {node.id for node in graph.nodes} | {scope.path for scope in graph.root.scopes()}
    with writer.indented("def parameter_options(name):"):
        writer.line('"""How the optimizer treats a parameter; None where it stays as it is."""')
        if frozen:
            with writer.indented(f"if {_starts(_outermost(graph, frozen))}:"):
                writer.line("return None")
        for group in section(graph).groups:
            test = " or ".join(_tests(group, names, paths))
            with writer.indented(f"if {test}:"):
                writer.line(f"return {_options(group)}")
        writer.line("return {}")


def _outermost(graph: Graph, prefixes: list[str]) -> list[str]:
    """The same layers by the names of whole scopes, where all that is in them is frozen."""
    owned = {f"{node.id}." for node in graph.nodes if node.params and node.owner is None}
    wanted, found = set(prefixes) & owned, []
    for scope in graph.root.scopes():
        inside = {name for name in owned if scope.path and name.startswith(f"{scope.path}.")}
        if inside and inside <= wanted:
            wanted -= inside
            found.append(f"{scope.path}.")
    return [*found, *(name for name in prefixes if name in wanted)]


def _tests(group: Group, names: Iterable[str], paths: set[str]) -> Iterable[str]:
    starts: list[str] = []
    ends: list[str] = []
    others: list[str] = []
    for pattern in group.match:
        parts = pattern.split("*")
        if len(parts) == 1:
            # A layer or block stands for all in it; else it is a parameter's own name.
            (starts if pattern in paths else others).append(
                f"{pattern}." if pattern in paths else pattern
            )
        elif len(parts) == 2 and not parts[0]:
            ends.append(parts[1])
        elif len(parts) == 2 and not parts[1]:
            starts.append(parts[0])
        else:
            single = Group(match=(pattern,))
            others += [name for name in names if single.matches(name)]
    if starts:
        yield _starts(starts)
    if ends:
        yield f"name.endswith({_few(ends)})"
    if others:
        made = literal(tuple(others)) if len(others) > 1 else f"({literal(others[0])},)"
        yield f"name == {literal(others[0])}" if len(others) == 1 else f"name in {made}"


def _starts(prefixes: list[str]) -> str:
    return f"name.startswith({_few(prefixes)})"


def _few(texts: list[str]) -> str:
    return literal(texts[0]) if len(texts) == 1 else literal(tuple(texts))


def _options(group: Group) -> Code:
    if not group.trainable:
        return Code("None")
    found: Mapping[str, float | None] = {
        "lr_scale": group.lr_scale if group.lr_scale != 1 else None,
        "weight_decay": group.weight_decay,
    }
    entries = (f"{literal(k)}: {literal(v)}" for k, v in found.items() if v is not None)
    return Code(f"{{{', '.join(entries)}}}")
